import { EngineError, throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { MAX_ROWS, type Precision, type Program, Programs, type Tap } from "../gpu/program.ts";
import type { KvDtype } from "../ops/kv-cache.ts";
import { ropeTable } from "../ops/rope.ts";
import { pixelUnshuffle, VISUAL_FLAG } from "../ops/rowwise.ts";
import { described } from "../options.ts";
import type { Vector } from "../tensor/tensor.ts";
import type { GpuWeights } from "../weights/gpu-weights.ts";
import type { LanguageConfig, ModelConfig } from "./config.ts";
import { createResidual, type DecoderParts, Lanes } from "./lanes.ts";
import { kvBytes, layerBytes } from "./language.ts";
import { interpolatePositions } from "./positions.ts";
import { type ProjectorWeights, recordProjector } from "./projector.ts";
import { ropeFrequencies } from "./rope.ts";
import { declareModel, type ModelWeights } from "./tensors.ts";
import { recordVision, type VisionWeights } from "./vision.ts";

/** Tiles in one vision step, at most; fewer where an activation would not fit a binding. */
const TILES = 4;

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
  /** Normalised pixels f32 [count, 3, size, size] of some of them. */
  pixels(first: number, count: number): Float32Array<ArrayBuffer>;
}

/** @throws EngineError bad-input where a context is longer than the model has positions */
export function checkContext({ maxPositions }: LanguageConfig, maxContext: number): void {
  if (maxContext <= maxPositions) return;
  throw new EngineError("bad-input", `maxContext is ${maxContext}, this model has ${maxPositions} positions`, {
    hint: `use at most ${maxPositions}`,
  });
}

/** Bytes of all KV caches where nobody says how many, or those of so many slots: they are taken only where there is room. */
const KV_BYTES = 2 * 2 ** 30;
const USUAL = 4;

/** How many answers can be decoded together. */
export interface SlotBound {
  /** At most 8, the default. */
  slots?: number | undefined;
  /** Bytes for their KV caches: 2 GiB by default, or what four need. */
  kvBytes?: number | undefined;
}

export interface ModelOptions extends SlotBound {
  /** What products may do to their operands; `exact` by default. */
  precision?: Precision | undefined;
}

/** The model on a device: weights, KV cache and the recorded programs. Knows nothing of text or pictures. */
export class Model {
  readonly gpu: Gpu;
  readonly config: ModelConfig;
  readonly maxContext: number;
  readonly #programs: Programs;
  readonly #vision: VisionWeights;
  readonly #projector: ProjectorWeights;
  readonly #decoder: DecoderParts;
  readonly #stages = new Map<string, Promise<VisionStage>>();
  /** Sequences of up to maxContext tokens: one, until more are wanted. */
  lanes!: Lanes;

  private constructor(
    gpu: Gpu,
    config: ModelConfig,
    maxContext: number,
    kv: KvDtype,
    { vision, projector, language }: ModelWeights,
    precision?: Precision,
  ) {
    this.gpu = gpu;
    this.config = config;
    this.maxContext = maxContext;
    this.#vision = vision;
    this.#projector = projector;
    this.#programs = new Programs(gpu, precision);
    const { memory } = gpu;
    const { hiddenSize, headDim } = config.language;
    const { inverse, scale } = ropeFrequencies(headDim, config.language.rope);
    const table = ropeTable(maxContext, inverse, scale);
    const rope = memory.create("rope", table.byteLength);
    memory.write(rope, 0, table);
    const ids = memory.create("ids", maxContext * 4);
    const visual = memory.create("visual tokens", maxContext * hiddenSize * 4);
    this.#decoder = { gpu, config, programs: this.#programs, language, kv, rope, ids, visual, x: createResidual(gpu, hiddenSize) };
  }

  /** Loads all weights, allocates the state and records the decoder's programs. `options` also say how many slots there can be. */
  static async load(
    gpu: Gpu,
    w: GpuWeights,
    config: ModelConfig,
    maxContext: number,
    kv: KvDtype,
    options: ModelOptions = {},
  ): Promise<Model> {
    checkContext(config.language, maxContext);
    return gpu.memory.scoped("loading the model", async () => {
      const weights = await w.load((declared) => declareModel(declared, config));
      const model = new Model(gpu, config, maxContext, kv, weights, options.precision);
      const { slots = MAX_ROWS, kvBytes = Math.max(KV_BYTES, USUAL * model.rowBytes(maxContext)) } = options;
      const most = Math.min(slots, model.rowsIn(kvBytes, maxContext));
      model.lanes = await Lanes.open(model.#decoder, 1, maxContext, most);
      return model;
    });
  }

  /** Rows that decode together, each with a KV cache of its own for `context` tokens. @throws EngineError limit-exceeded, out-of-memory */
  openLanes(rows: number, context: number): Promise<Lanes> {
    return Lanes.open(this.#decoder, rows, context);
  }

  /** Bytes of the KV cache of one row of `context` tokens. */
  rowBytes(context: number): number {
    return kvBytes(this.config.language, context, this.#decoder.kv);
  }

  /** Rows of `context` tokens that have room in so many bytes of KV cache and in a binding, at least one. */
  rowsIn(bytes: number, context: number): number {
    const { language } = this.config;
    const { kv } = this.#decoder;
    const bound = Math.floor(this.gpu.memory.maxBinding / layerBytes(language, context, kv)); // a layer's keys of all rows lie in one binding
    return Math.max(1, Math.min(MAX_ROWS, bound, Math.floor(bytes / kvBytes(language, context, kv))));
  }

  /** The vision tower for tiles of `size` pixels a side; its visual tokens go to row start · tokens of the visual buffer. */
  recordVision(size: number, tap?: Tap): Promise<VisionStage> {
    const key = String(size);
    const known = tap ? undefined : this.#stages.get(key);
    if (known) return known;
    const stage = this.#buildVision(size, tap);
    if (!tap) this.#stages.set(key, stage);
    return stage;
  }

  /**
   * Records the vision tower for tiles of `size` pixels a side, and has the adapter compile everything that an answer needs: nothing is
   * left to the first one. `onPipeline` as for `Programs.warm`. @throws EngineError aborted, device-lost
   */
  async prepare(size: number, signal?: AbortSignal, onPipeline?: (done: number, total: number) => void): Promise<void> {
    const { program } = await this.recordVision(size);
    await this.#programs.warm([...this.lanes.programs(), program], signal, onPipeline);
  }

  async #buildVision(size: number, tap?: Tap): Promise<VisionStage> {
    const { vision, language } = this.config;
    const { memory } = this.gpu;
    const grid = size / vision.patchSize;
    const rows = 1 + grid * grid;
    const widest = Math.max(vision.intermediateSize, 3 * vision.hiddenSize, 3 * vision.patchSize ** 2);
    const tiles = Math.max(1, Math.min(TILES, Math.floor(memory.maxBinding / (rows * widest * 4))));
    const tileBytes = 3 * size * size * 4;
    const pixels = memory.create("pixels", tiles * tileBytes);
    const stored = interpolatePositions(this.#vision.position, vision.imageSize / vision.patchSize, grid, vision.hiddenSize);
    const positionBuffer = memory.create("position_embedding", stored.byteLength);
    memory.write(positionBuffer, 0, stored);
    const position: Vector = { label: "position_embedding", length: stored.length, buffer: positionBuffer };
    const tokens = (grid / 2) ** 2;
    const program = await this.#programs.record("vision", tiles, (p) => {
      const x = recordVision(p, this.#vision, vision, pixels, position, size, tap); // [tiles · rows, C]
      if (grid % 2 !== 0) return; // traced only: no pixel unshuffle for an odd grid
      const shuffled = pixelUnshuffle(p, x, grid); // [tiles · tokens, 4C]
      tap?.("pixel_shuffle", shuffled, p);
      const y = recordProjector(p, this.#projector, shuffled); // [tiles · tokens, H]
      tap?.("mlp1", y, p);
      const bytes = tokens * language.hiddenSize * 4;
      p.copy({
        from: y.buffer,
        to: this.#decoder.visual,
        range: (step) => ({ fromOffset: 0, toOffset: step.start * bytes, bytes: step.units * bytes }),
      });
    });
    return { program, pixels, position: positionBuffer, tileBytes, tokens };
  }

  /**
   * Runs the tiles from `first` on through vision tower and projector, in batches; the visual tokens stay on the GPU, those of tile i from
   * row i · tokens on. `after` is called when a batch has been submitted.
   */
  async runVision(
    tiles: Tiles,
    options: {
      first?: number;
      signal?: AbortSignal | undefined;
      stage?: VisionStage | undefined;
      after?: ((first: number, count: number) => Promise<void>) | undefined;
    } = {},
  ): Promise<void> {
    const { signal, after } = options;
    const stage = options.stage ?? (await this.recordVision(tiles.size));
    if (tiles.count * stage.tokens > this.maxContext) {
      throw new EngineError(
        "context-overflow",
        `${tiles.count} tiles give ${tiles.count * stage.tokens} visual tokens, the context has ${this.maxContext}`,
        { hint: "use fewer tiles (maxTiles) or a larger maxContext" },
      );
    }
    for (let first = options.first ?? 0; first < tiles.count; first += stage.program.maxUnits) {
      throwIfAborted(signal);
      this.gpu.memory.assertAlive();
      const units = Math.min(stage.program.maxUnits, tiles.count - first);
      this.gpu.memory.write(stage.pixels, 0, tiles.pixels(first, units));
      stage.program.run({ units, start: first });
      this.gpu.counters.tiles += units;
      await after?.(first, units);
      await this.gpu.memory.flush(); // one batch in flight: an abort takes effect within it
    }
  }

  /**
   * Ids as the embedding gather wants them: the k-th `<IMG_CONTEXT>` becomes visual token k.
   *
   * @throws EngineError bad-input for what is no id of the vocabulary: the gather would read other memory
   */
  mergeIds(inputIds: readonly number[], imageContextId: number): Uint32Array<ArrayBuffer> {
    const { vocabSize } = this.config.language;
    const wrong = inputIds.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
    if (wrong >= 0) {
      const has = `token ${wrong} of the prompt is ${described(inputIds[wrong])}`;
      throw new EngineError("bad-input", `${has}, needs an id from 0 to ${vocabSize - 1}`, {
        hint: "take ids from this checkpoint's own tokenizer",
      });
    }
    let visual = 0;
    return Uint32Array.from(inputIds, (id) => (id === imageContextId ? (VISUAL_FLAG | visual++) >>> 0 : id));
  }
}
