import { EngineError, throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Program, Programs, type Tap } from "../gpu/program.ts";
import type { KvCache } from "../ops/attention.ts";
import { matmul } from "../ops/matmul.ts";
import { norm } from "../ops/norm.ts";
import { ropeTable } from "../ops/rope.ts";
import { argmax, embed, pixelUnshuffle, VISUAL_FLAG } from "../ops/rowwise.ts";
import type { Activation, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/checkpoint.ts";
import type { ModelConfig } from "./config.ts";
import { createCaches, type LanguageWeights, loadLanguage, recordLanguageLayer } from "./language.ts";
import { interpolatePositions } from "./positions.ts";
import { loadProjector, type ProjectorWeights, recordProjector } from "./projector.ts";
import { loadVision, recordVision, type VisionWeights } from "./vision.ts";

/** Tokens in one prefill step: activations are sized for it, whatever the prompt's length. */
const CHUNK = 512;
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

/** The model on a device: weights, KV cache and the recorded programs. Knows nothing of text or pictures. */
export class Model {
  readonly gpu: Gpu;
  readonly config: ModelConfig;
  readonly maxContext: number;
  readonly #programs: Programs;
  readonly #vision: VisionWeights;
  readonly #projector: ProjectorWeights;
  readonly #language: LanguageWeights;
  readonly #caches: KvCache[];
  readonly #rope: GPUBuffer;
  readonly #ids: GPUBuffer;
  readonly #visual: GPUBuffer;
  readonly #x: Activation; // [CHUNK, H]: the residual stream
  readonly #logits: Activation; // [1, vocab]
  readonly #stages = new Map<string, Promise<VisionStage>>();
  #prefill!: Program;
  #head!: Program;
  #decode!: Program;

  private constructor(
    gpu: Gpu,
    config: ModelConfig,
    maxContext: number,
    vision: VisionWeights,
    projector: ProjectorWeights,
    language: LanguageWeights,
  ) {
    this.gpu = gpu;
    this.config = config;
    this.maxContext = maxContext;
    this.#vision = vision;
    this.#projector = projector;
    this.#language = language;
    this.#programs = new Programs(gpu);
    const { memory } = gpu;
    const { hiddenSize, headDim, ropeTheta, vocabSize } = config.language;
    this.#caches = createCaches(gpu, config.language, maxContext);
    const table = ropeTable(maxContext, headDim, ropeTheta);
    this.#rope = memory.create("rope", table.byteLength);
    memory.write(this.#rope, 0, table);
    this.#ids = memory.create("ids", (maxContext + 1) * 4);
    this.#visual = memory.create("visual tokens", maxContext * hiddenSize * 4);
    this.#x = { label: "x", rows: { base: 0, unit: 1 }, width: hiddenSize, buffer: memory.create("residual", CHUNK * hiddenSize * 4) };
    this.#logits = { label: "logits", rows: { base: 1, unit: 0 }, width: vocabSize, buffer: memory.create("logits", vocabSize * 4) };
  }

  /** Loads all weights, allocates the state and records the decoder's programs. */
  static async load(gpu: Gpu, w: Weights, config: ModelConfig, maxContext: number): Promise<Model> {
    if (maxContext > config.language.maxPositions) {
      throw new EngineError("bad-input", `maxContext is ${maxContext}, this model has ${config.language.maxPositions} positions`, {
        hint: `use at most ${config.language.maxPositions}`,
      });
    }
    return gpu.memory.scoped("loading the model", async () => {
      const { vision, language, selectLayer } = config;
      const layers = selectLayer < 0 ? vision.layers + 1 + selectLayer : selectLayer;
      const visionWeights = await loadVision(w.at("vision_model"), vision, layers);
      const projector = await loadProjector(w.at("mlp1"), vision.hiddenSize, language.hiddenSize);
      const model = new Model(gpu, config, maxContext, visionWeights, projector, await loadLanguage(w.at("language_model"), language));
      model.#prefill = await model.recordPrefill();
      model.#head = await model.#programs.record("head", CHUNK, (p) => model.#recordHead(p));
      model.#decode = await model.#programs.record("decode", 1, (p) => {
        model.#recordLayers(p);
        model.#recordHead(p);
      });
      return model;
    });
  }

  #recordLayers(p: Program, tap?: Tap): void {
    const x = this.#x;
    embed(p, this.#ids, this.#language.embed, this.#visual, x);
    tap?.("input_embeds", x, p);
    for (const [i, layer] of this.#language.layers.entries()) {
      recordLanguageLayer(p, layer, x, this.#caches[i]!, this.#rope, this.config.language.heads);
      tap?.(`llm.layer.${i}`, x, p);
    }
  }

  /** Logits of the step's last position, and the next id behind it. */
  #recordHead(p: Program): void {
    const last = norm(p, this.#x, this.#language.norm, { last: true }); // [1, H]
    matmul(p, last, this.#language.head, { out: this.#logits });
    argmax(p, this.#logits, this.#ids);
  }

  /** The prefill of a chunk; with a tap also the final norm and the logits of every position. */
  recordPrefill(tap?: Tap): Promise<Program> {
    // A traced step holds the logits of every position: as many rows as one binding takes.
    const rows = tap ? Math.min(CHUNK, Math.floor(this.gpu.memory.maxBinding / (this.#logits.width * 4))) : CHUNK;
    return this.#programs.record("prefill", rows, (p) => {
      this.#recordLayers(p, tap);
      if (!tap) return;
      const normed = norm(p, this.#x, this.#language.norm); // [tokens, H]
      tap("llm.norm", normed, p);
      tap("logits", matmul(p, normed, this.#language.head), p); // [tokens, vocab]
    });
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
        to: this.#visual,
        range: (step) => ({ fromOffset: 0, toOffset: step.start * bytes, bytes: step.units * bytes }),
      });
    });
    return { program, pixels, position: positionBuffer, tileBytes, tokens };
  }

  /**
   * Runs tiles [count, 3, size, size] through vision tower and projector, in batches; the visual tokens stay on the GPU.
   * `after` is called when a batch has been submitted.
   */
  async runVision(
    pixels: Float32Array<ArrayBuffer>,
    size: number,
    options: {
      signal?: AbortSignal | undefined;
      stage?: VisionStage | undefined;
      after?: ((first: number, count: number) => Promise<void>) | undefined;
    } = {},
  ): Promise<void> {
    const stage = options.stage ?? (await this.recordVision(size));
    const perTile = stage.tileBytes / 4;
    const count = pixels.length / perTile;
    if (count * stage.tokens > this.maxContext) {
      throw new EngineError(
        "context-overflow",
        `${count} tiles give ${count * stage.tokens} visual tokens, the context has ${this.maxContext}`,
        { hint: "use fewer tiles (maxTiles) or a larger maxContext" },
      );
    }
    for (let first = 0; first < count; first += stage.program.maxUnits) {
      throwIfAborted(options.signal);
      const units = Math.min(stage.program.maxUnits, count - first);
      this.gpu.memory.write(stage.pixels, 0, pixels.subarray(first * perTile, (first + units) * perTile));
      stage.program.run({ units, start: first });
      await options.after?.(first, units);
      await this.gpu.memory.flush(); // one batch in flight: an abort takes effect within it
    }
  }

  /** Ids as the embedding gather wants them: the k-th `<IMG_CONTEXT>` becomes visual token k. */
  static mergeIds(inputIds: readonly number[], imageContextId: number): Uint32Array<ArrayBuffer> {
    let visual = 0;
    return Uint32Array.from(inputIds, (id) => (id === imageContextId ? (VISUAL_FLAG | visual++) >>> 0 : id));
  }

  /** Prefills a prompt from position 0 and puts the first new id behind it. */
  async prefill(
    ids: Uint32Array<ArrayBuffer>,
    options: {
      signal?: AbortSignal | undefined;
      program?: Program | undefined;
      after?: ((start: number, units: number) => Promise<void>) | undefined;
    } = {},
  ): Promise<void> {
    const { signal, program = this.#prefill, after } = options;
    this.gpu.memory.write(this.#ids, 0, ids);
    const chunk = program.maxUnits;
    for (let start = 0; start < ids.length; start += chunk) {
      throwIfAborted(signal);
      const step = { units: Math.min(chunk, ids.length - start), start };
      program.run(step);
      await after?.(start, step.units);
      if (start + chunk < ids.length) await this.gpu.memory.flush();
      else this.#head.run(step);
    }
  }

  /** Decodes one step: the id at `position` goes in, the next one comes out behind it. Nothing is waited for. */
  decode(position: number): void {
    this.#decode.run({ units: 1, start: position });
  }

  /** The id that stands at `position` on the GPU. */
  async readId(position: number): Promise<number> {
    return new Uint32Array(await this.gpu.memory.read(this.#ids, position * 4, 4))[0]!;
  }

  /** The last step's logits [vocab]. */
  async readLogits(): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.gpu.memory.read(this.#logits.buffer, 0, this.#logits.width * 4));
  }
}
