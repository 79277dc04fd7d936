import { type InternVL, partsOf } from "./api/internvl.ts";
import { EngineError } from "./errors.ts";
import { forget, type GenerateRequest, type PromptTiles, prefillPrompt } from "./generate/loop.ts";
import { Stepper } from "./generate/stepper.ts";
import type { Tap } from "./gpu/program.ts";
import { decodeImage } from "./media/decode.ts";
import { tileImage } from "./media/tiles.ts";
import { Model } from "./model/internvl.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";
import { openSource, readSmall, type WeightSource } from "./weights/source.ts";

export { type Gpu, openGpu } from "./gpu/device.ts";
export type { KernelSpec } from "./gpu/kernel.ts";
export type { Dispatch, Program, RunOptions, Step } from "./gpu/program.ts";
export type { Bound, Deviation } from "./harness/bounds.ts";
export { type CaseParams, defineCase as defineKernelCase, type Expectation, type KernelCase, type Operands } from "./harness/case.ts";
export { kernelCases } from "./harness/index.ts";
export type { Random } from "./harness/random.ts";
export { type OpReport, type Report as KernelReport, type Result as KernelResult, runCases as runKernelCases } from "./harness/report.ts";
export { type Outcome, runCase as runKernelCase } from "./harness/run.ts";
export type { Activation, Bindable, Matrix, MatrixDtype, MatrixPart, Rows, Vector } from "./tensor/tensor.ts";
export type { Tokenizer } from "./text/tokenizer.ts";

/** Normalised tiles: f32 [tiles, 3, size, size], flat for the model's own tile size, or with a shape. */
export type PixelValues = Float32Array | { data: Float32Array; shape: readonly number[] };

export interface TraceRequest {
  pixelValues?: PixelValues | null | undefined;
  inputIds: ArrayLike<number>;
}

/** Every traced tile is another one: nothing is taken from the cache. */
let traced = 0;

function toTiles(values: PixelValues | null | undefined, tileSize: number): (PromptTiles & { data: Float32Array }) | undefined {
  if (!values) return undefined;
  const { data, shape } =
    values instanceof Float32Array ? { data: values, shape: [values.length / (3 * tileSize ** 2), 3, tileSize, tileSize] } : values;
  const [tiles, channels, height, width] = shape;
  if (
    shape.length !== 4 ||
    channels !== 3 ||
    height !== width ||
    !Number.isInteger(tiles) ||
    data.length !== tiles! * 3 * height! * width!
  ) {
    throw new EngineError("bad-input", `pixelValues has ${data.length} values and shape [${shape}], needs [tiles, 3, size, size]`);
  }
  const perTile = 3 * height! ** 2;
  return {
    count: tiles!,
    size: height!,
    keys: Array.from({ length: tiles! }, () => `traced ${traced++}`),
    pixels: (first, count) => data.subarray(first * perTile, (first + count) * perTile) as Float32Array<ArrayBuffer>,
    data,
  };
}

/** Copies tapped activations into buffers of their own and gathers them on the CPU, step after step. */
class Recorder {
  readonly #model: Model;
  readonly #buffers = new Map<string, { buffer: GPUBuffer; rowBytes: number; unit: number }>();
  readonly #pieces = new Map<string, Float32Array[]>();

  constructor(model: Model) {
    this.#model = model;
  }

  readonly tap: Tap = (name, x, program) => {
    const rowBytes = x.width * 4;
    const buffer = this.#model.gpu.memory.create(
      `trace ${name}`,
      program.maxRows(x.rows) * rowBytes,
      GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    );
    this.#buffers.set(name, { buffer, rowBytes, unit: x.rows.unit });
    program.copy({
      from: x.buffer,
      to: buffer,
      range: (step) => ({ fromOffset: 0, toOffset: 0, bytes: x.rows.unit * step.units * rowBytes }),
    });
  };

  async collect(units: number): Promise<void> {
    for (const [name, { buffer, rowBytes, unit }] of this.#buffers) {
      const piece = new Float32Array(await this.#model.gpu.memory.read(buffer, 0, units * unit * rowBytes));
      this.#pieces.set(name, [...(this.#pieces.get(name) ?? []), piece]);
    }
  }

  /** Moves what was gathered into `result` and frees the buffers. */
  finish(result: Map<string, Float32Array>): void {
    for (const [name, pieces] of this.#pieces) {
      const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
      let at = 0;
      for (const piece of pieces) {
        all.set(piece, at);
        at += piece.length;
      }
      result.set(name, all);
    }
    for (const { buffer } of this.#buffers.values()) this.#model.gpu.memory.destroy(buffer);
  }
}

async function traceVision(model: Model, tiles: PromptTiles, result: Map<string, Float32Array>): Promise<void> {
  const recorder = new Recorder(model);
  const stage = await model.recordVision(tiles.size, recorder.tap);
  await model.runVision(tiles, { stage, after: (_first, count) => recorder.collect(count) });
  recorder.finish(result);
  stage.program.dispose();
  for (const buffer of [stage.pixels, stage.position]) model.gpu.memory.destroy(buffer);
}

/**
 * One forward pass with every intermediate, by its name in `golden`: `pixel_values`, `vit.embeddings`, `vit.layer.i`,
 * `pixel_shuffle`, `mlp1`, `input_embeds`, `llm.layer.i`, `llm.norm`, `logits` (all positions), each flat and row-major.
 * Without `inputIds` (an empty list) only the vision part runs.
 */
export async function traceForward(vlm: InternVL, { pixelValues, inputIds }: TraceRequest): Promise<Map<string, Float32Array>> {
  const { model, config, imageContextId, queue } = partsOf(vlm);
  const tiles = toTiles(pixelValues, config.tileSize);
  const leave = await queue.enter();
  try {
    const result = new Map<string, Float32Array>();
    if (tiles) {
      result.set("pixel_values", tiles.data);
      await traceVision(model, tiles, result);
    }
    if (inputIds.length > 0) {
      const recorder = new Recorder(model);
      const { program, dispose } = await model.lanes.recordTrace(recorder.tap, inputIds.length);
      await model.lanes.prefill(0, Model.mergeIds(Array.from(inputIds), imageContextId), 0, {
        program,
        after: (_start, units) => recorder.collect(units),
      });
      recorder.finish(result);
      dispose();
    }
    return result;
  } finally {
    leave();
  }
}

/** Greedy generation of `steps` tokens, stop tokens not heeded: the ids, and for each the logits [vocab] it was chosen from. */
export async function generateTrace(
  vlm: InternVL,
  { pixelValues, inputIds, steps }: TraceRequest & { steps: number },
): Promise<{ ids: number[]; logits: Float32Array[] }> {
  const { model, config, imageContextId, queue, stepper } = partsOf(vlm);
  const request: GenerateRequest = {
    inputIds: Array.from(inputIds),
    images: toTiles(pixelValues, config.tileSize),
    imageContextId,
  };
  const leave = await queue.enter();
  try {
    const ids: number[] = [];
    const logits: Float32Array[] = [];
    forget(stepper, 0); // every position is computed here, none taken from the cache
    const { lanes } = model;
    const { units } = await prefillPrompt(model, stepper, 0, request);
    lanes.first(0, units);
    for (let position = request.inputIds.length; ids.length < steps; position++) {
      logits.push(await lanes.readLogits());
      ids.push(await lanes.readId());
      if (ids.length < steps) lanes.decode([position]);
    }
    return { ids, logits };
  } finally {
    leave();
  }
}

/**
 * Greedy generation for several prompts in one decode loop, a row each: at most `steps` ids a row, a row leaves with `stopId`.
 * @throws EngineError bad-input for more rows than decode together
 */
export async function generateBatch(
  vlm: InternVL,
  requests: readonly TraceRequest[],
  { steps, stopId, maxContext }: { steps: number; stopId?: number; maxContext: number },
): Promise<number[][]> {
  const { gpu, model, config, imageContextId, queue } = partsOf(vlm);
  const room = model.rowsIn(Number.POSITIVE_INFINITY, maxContext);
  if (requests.length > room) throw new EngineError("bad-input", `${requests.length} rows, at most ${room} decode together`);
  const leave = await queue.enter();
  try {
    const stepper = new Stepper(gpu, await model.openLanes(requests.length, maxContext));
    const answers: number[][] = requests.map(() => []);
    for (const [row, { pixelValues, inputIds }] of requests.entries()) {
      const request = { inputIds: Array.from(inputIds), images: toTiles(pixelValues, config.tileSize), imageContextId };
      const { units } = await prefillPrompt(model, stepper, row, request);
      const position = inputIds.length;
      const accept = (id: number) => answers[row]!.push(id) >= steps || id === stopId;
      stepper.begin(row, { position, end: position + steps, finished: false, accept }, units);
      stepper.fill(); // rows decode while others are still to come
    }
    while (stepper.active) {
      stepper.fill();
      await stepper.collect();
    }
    stepper.dispose();
    return answers;
  } finally {
    leave();
  }
}

/** The tiles that the model would see of a PNG or JPEG file: the grid, and RGB bytes, tiles in order, each [tileSize, tileSize, 3]. */
export async function tiles(
  bytes: Uint8Array,
  options: { maxTiles?: number; tileSize?: number; thumbnail?: boolean } = {},
): Promise<{ grid: [columns: number, rows: number]; tiles: Uint8Array }> {
  const { grid, tiles } = tileImage(await decodeImage(bytes), options);
  return { grid, tiles };
}

/** The tokenizer of a checkpoint folder. */
export async function tokenizer(folder: string | WeightSource): Promise<Tokenizer> {
  const source = await openSource(folder);
  return loadTokenizer((name) => readSmall(source, name));
}
