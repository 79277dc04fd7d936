import { EngineError, late } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { scopedOn } from "../gpu/devices.ts";
import { MAX_SLOTS, type Precision, type Program, Programs, type Tap } from "../gpu/program.ts";
import { type KvDtype, kvBytes, slotBytes } from "../ops/kv-cache.ts";
import { inverseFrequencies, ropeTable } from "../ops/rope.ts";
import { pixelUnshuffle, VISUAL_FLAG } from "../ops/rowwise.ts";
import { described } from "../options.ts";
import { bindingOf, type Vector } from "../tensor/tensor.ts";
import type { GpuWeights } from "../weights/gpu-weights.ts";
import type { LanguageConfig, ModelConfig } from "./config.ts";
import { createResidual, Decoder, type DecoderParts } from "./decoder-slots.ts";
import { recordProjector } from "./projector.ts";
import { DIRECT, onOne, type Part, partOf } from "./stages.ts";
import { chunkFor, mostTiles } from "./steps.ts";
import { declareModel, type ModelWeights } from "./tensors.ts";
import { recordVision } from "./vision.ts";
import { type VisualCache, type VisualLayout, visualCache } from "./visual-cache.ts";

interface VisionStage {
  program: Program;
  pixels: GPUBuffer;
  position: GPUBuffer;
  tileBytes: number;
  /** Visual tokens a tile. */
  tokens: number;
}

/** Tiles for the vision tower, in the order of their visual tokens. */
export interface Tiles {
  count: number;
  /** Pixels a side. */
  size: number;
  /** Equal for equal content: what has been computed is not computed again. */
  keys: readonly string[];
  /** Normalised pixels f32 [3, size, size] of one of them. */
  pixels(tile: number): Float32Array<ArrayBuffer>;
}

/** @throws EngineError bad-input where a context is longer than the model has positions */
export function checkContext({ maxPositions }: LanguageConfig, maxContext: number): void {
  if (maxContext <= maxPositions) return;
  const hint = `use at most ${maxPositions}`;
  throw new EngineError("bad-input", `maxContext is ${maxContext}, this model has ${maxPositions} positions`, { hint });
}

/** Bytes of all KV caches where nobody says how many, or what USUAL slots need, if that is more. They are taken only where there is room. */
const KV_BYTES = 2 * 2 ** 30;
const USUAL = 4;

/** How many answers can be decoded together. */
export interface SlotBound {
  /** At most 8, the default. */
  slots?: number | undefined;
  /** Bytes for their KV caches: 2 GiB by default, or what four need. */
  kvBytes?: number | undefined;
}

/** How a model is laid out over devices, how precise it is, and how many slots it has. */
export interface ModelOptions extends SlotBound {
  /** The decoder's layers over the devices: all of them on one by default. */
  parts?: readonly Part[] | undefined;
  /** What products may do to their operands; `exact` by default. */
  precision?: Precision | undefined;
}

/** The model on a device: weights, KV cache and the recorded programs. Knows nothing of text or pictures. */
export class Model {
  /** The first device: of the vision tower, the embedding and the head. */
  readonly gpu: Gpu;
  readonly gpus: readonly Gpu[];
  readonly config: ModelConfig;
  readonly maxContext: number;
  readonly #weights: ModelWeights;
  readonly #parts: DecoderParts;
  readonly #stages = new Map<number, Promise<VisionStage>>();
  readonly visual: VisualCache;
  /** Sequences of up to maxContext tokens: one, until more are wanted. */
  decoder!: Decoder;

  private constructor(gpus: readonly Gpu[], maxContext: number, weights: ModelWeights, parts: DecoderParts) {
    this.gpu = parts.gpu;
    this.gpus = gpus;
    this.config = parts.config;
    this.maxContext = maxContext;
    this.#weights = weights;
    this.#parts = parts;
    this.visual = visualCache(maxContext);
  }

  /** Loads all weights of the devices, allocates the state and records the decoder's programs. `options` also say how many slots there can be. */
  static async load(
    gpus: readonly Gpu[],
    w: readonly GpuWeights[],
    config: ModelConfig,
    maxContext: number,
    kv: KvDtype,
    options: ModelOptions = {},
  ): Promise<Model> {
    checkContext(config.language, maxContext);
    const { parts = onOne(config.language.layers) } = options;
    const on = (layer: number) => w[partOf(parts, layer).device]!;
    const relaying = parts.length > 1 ? (await late("what joins several devices", import("./relay.ts"))).relay : undefined; // pages with one device do not download it
    const { hiddenSize, headDim, rope } = config.language;
    const plain = inverseFrequencies(headDim, rope.theta);
    const { inverse, scale } =
      rope.kind === "plain"
        ? { inverse: plain, scale: 1 }
        : (await late("what stretches rope", import("./rope.ts"))).ropeFrequencies(plain, rope);
    return scopedOn(gpus, "loading the model", async () => {
      const [first, ...beside] = w;
      const weights = await first!.load((declared) => declareModel(declared, config, undefined, on), beside);
      let chunk = Number.POSITIVE_INFINITY;
      for (const gpu of gpus) chunk = Math.min(chunk, await chunkFor(gpu, config, maxContext, kvBytes(config.language, maxContext, kv)));
      const table = ropeTable(maxContext, inverse, scale);
      const each = gpus.map((gpu) => {
        const rope = gpu.memory.create("rope", table.byteLength);
        gpu.memory.write(rope, 0, table);
        return { gpu, programs: new Programs(gpu, options.precision), rope };
      });
      const gpu = gpus[0]!;
      const ids = gpu.memory.create("ids", maxContext * 4);
      const visual = gpu.memory.create("visual tokens", maxContext * hiddenSize * 4);
      const stages = parts.map((part) => ({ ...part, ...each[part.device]!, x: createResidual(gpus[part.device]!, hiddenSize, chunk) }));
      const order = relaying?.(stages) ?? DIRECT;
      const model = new Model(gpus, maxContext, weights, {
        ...{ gpu, config, stages, order, language: weights.language, kv, ids, visual, chunk },
      });
      const { slots = MAX_SLOTS, kvBytes: room = Math.max(model.gpu.mobile ? 0 : KV_BYTES, USUAL * model.slotBytes(maxContext)) } = options;
      const most = Math.min(slots, model.slotsIn(room, maxContext));
      model.decoder = await Decoder.open(model.#parts, 1, maxContext, most);
      return model;
    });
  }

  /** Slots that decode together, each with a KV cache for `context` tokens. @throws EngineError limit-exceeded, out-of-memory */
  openDecoder(slots: number, context: number): Promise<Decoder> {
    return Decoder.open(this.#parts, slots, context);
  }

  /** Bytes of the KV cache of a slot of `context` tokens. */
  slotBytes(context: number): number {
    return kvBytes(this.config.language, context, this.#parts.kv);
  }

  /** Slots of `context` tokens that have room in some bytes of KV cache and in a binding, at least one. */
  slotsIn(bytes: number, context: number): number {
    const { language } = this.config;
    const { kv } = this.#parts;
    const binding = Math.min(...this.gpus.map(({ memory }) => memory.maxBinding));
    const bound = Math.floor(binding / slotBytes({ ...language, context, dtype: kv })); // a layer's keys of all slots lie in one binding
    return Math.max(1, Math.min(MAX_SLOTS, bound, Math.floor(bytes / kvBytes(language, context, kv))));
  }

  /** The vision tower for tiles of `size` pixels a side; the visual tokens of each go to the place that is its slot in the step. */
  visionStage(size: number, tap?: Tap): Promise<VisionStage> {
    const known = tap ? undefined : this.#stages.get(size);
    if (known) return known;
    const stage = this.#buildVision(size, tap);
    if (!tap) this.#stages.set(size, stage);
    return stage;
  }

  /**
   * Records the vision tower for tiles of `size` pixels a side, and has the adapter compile everything that an answer needs: nothing is
   * left to the first one. `onPipeline` as for `Programs.warm`. @throws EngineError aborted, device-lost
   */
  async prepare(size: number, signal?: AbortSignal, onPipeline?: (done: number, total: number) => void): Promise<void> {
    const { program } = await this.visionStage(size);
    const all = [...this.decoder.programs(), program];
    let before = 0; // of the devices before
    for (const programs of new Set(this.#parts.stages.map((stage) => stage.programs))) {
      let here = 0;
      const own = all.filter(({ gpu }) => gpu === programs.gpu);
      await programs.warm(own, signal, (done, total) => {
        here = total;
        onPipeline?.(before + done, before + total);
      });
      before += here;
    }
  }

  /** Waits until all that was asked of the decoder is submitted. @throws EngineError device-lost */
  idle(): Promise<void> {
    return this.#parts.order.idle();
  }

  /** Waits until all that was asked for is done. @throws EngineError device-lost */
  async flush(): Promise<void> {
    await this.idle();
    for (const { memory } of this.gpus) await memory.flush();
  }

  async #buildVision(size: number, tap?: Tap): Promise<VisionStage> {
    const { vision, language } = this.config;
    const { memory } = this.gpu;
    const grid = size / vision.patchSize;
    const rows = 1 + grid * grid;
    const { position: trained } = this.#weights.vision; // [1 + from², C]
    const from = vision.imageSize / vision.patchSize;
    const stored =
      grid === from
        ? trained
        : (await late("what resizes position embeddings", import("./positions.ts"))).interpolatePositions(
            trained,
            from,
            grid,
            vision.hiddenSize,
          );
    const widest = Math.max(vision.intermediateSize, 3 * vision.hiddenSize, 3 * vision.patchSize ** 2);
    const tiles = Math.max(1, Math.min(mostTiles(this.gpu), Math.floor(memory.maxBinding / (rows * widest * 4))));
    const tileBytes = 3 * size * size * 4;
    const pixels = memory.create("pixels", tiles * tileBytes);
    const positionBuffer = memory.create("position_embedding", stored.byteLength);
    memory.write(positionBuffer, 0, stored);
    const position: Vector = { label: "position_embedding", length: stored.length, buffer: positionBuffer };
    const tokens = (grid / 2) ** 2;
    const program = await this.#parts.stages[0]!.programs.record("vision", tiles, (p) => {
      const x = recordVision(p, this.#weights.vision, vision, pixels, position, size, tap); // [tiles · rows, C]
      if (grid % 2 !== 0) return; // traced only: no pixel unshuffle for an odd grid
      const shuffled = pixelUnshuffle(p, x, grid); // [tiles · tokens, 4C]
      tap?.("pixel_shuffle", shuffled, p);
      const y = recordProjector(p, this.#weights.projector, shuffled); // [tiles · tokens, H]
      tap?.("mlp1", y, p);
      const bytes = tokens * language.hiddenSize * 4;
      const { buffer, offset = 0 } = bindingOf(y.buffer);
      p.command({
        encode: (encoder, { slots = [] }) => {
          for (const [tile, place] of slots.entries())
            encoder.copyBufferToBuffer(buffer, offset + tile * bytes, this.#parts.visual, place * bytes, bytes);
        },
      });
    });
    return { program, pixels, position: positionBuffer, tileBytes, tokens };
  }

  /**
   * Runs some tiles, at most as many as the stage takes at once, through vision tower and projector; their visual tokens stay on the GPU, each
   * tile's at its place.
   */
  async runVision(tiles: Tiles, batch: readonly number[], { places }: VisualLayout, stage?: VisionStage): Promise<void> {
    const { memory, counters } = this.gpu;
    const { program, pixels, tileBytes } = stage ?? (await this.visionStage(tiles.size));
    memory.assertAlive();
    for (const [i, tile] of batch.entries()) memory.write(pixels, i * tileBytes, tiles.pixels(tile));
    program.run({ units: batch.length, start: 0, slots: batch.map((tile) => places[tile]!) });
    for (const tile of batch) this.visual.fill(tiles.keys[tile]!, places[tile]!);
    counters.tiles += batch.length;
    await memory.flush(); // one batch in flight: an abort takes effect within it
  }

  /**
   * Ids as the embedding gather wants them: the k-th `<IMG_CONTEXT>` becomes the row of visual token k, of tiles that have their places.
   *
   * @throws EngineError bad-input for what is not an id of the vocabulary: the gather would read other memory
   */
  mergeIds(inputIds: readonly number[], imageContextId: number, layout?: VisualLayout): Uint32Array<ArrayBuffer> {
    const { vocabSize } = this.config.language;
    const wrong = inputIds.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
    if (wrong >= 0) {
      const has = `token ${wrong} of the prompt is ${described(inputIds[wrong])}`;
      const hint = "take ids from this checkpoint's own tokenizer";
      throw new EngineError("bad-input", `${has}, needs an id from 0 to ${vocabSize - 1}`, { hint });
    }
    const { perTile, places } = layout ?? { perTile: 1, places: [] };
    let k = 0;
    return Uint32Array.from(inputIds, (id) => {
      if (id !== imageContextId) return id;
      const row = (places[Math.floor(k / perTile)] ?? 0) * perTile + (k % perTile);
      k++;
      return (VISUAL_FLAG | row) >>> 0;
    });
  }
}
