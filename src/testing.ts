/**
 * A model's insides for tests: every intermediate, the logits of every step, tiles, tokens; and the harness for kernels.
 *
 * @module internvl-webgpu/testing
 */

import { InternVL, partsOf } from "./api/internvl.ts";
import { tileCount } from "./api/messages.ts";
import type { Parts } from "./api/parts.ts";
import { EngineError } from "./errors.ts";
import type { Tap } from "./gpu/program.ts";
import { openSource, readSmall, type WeightSource } from "./hub/source.ts";
import { decodeImage } from "./media/decode.ts";
import { tileImage } from "./media/tiles.ts";
import type { Model, Tiles } from "./model/internvl.ts";
import { recordTrace } from "./model/trace.ts";
import type { VisualLayout } from "./model/visual-cache.ts";
import { GREEDY } from "./ops/sample-state.ts";
import { count, flag, isRecord, number, reading, readOptions, wrong } from "./options.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";

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

/** What goes into a traced pass: the ids of a prompt, and the tiles for its visual tokens. */
export interface TraceRequest {
  pixelValues?: PixelValues | null | undefined;
  inputIds: ArrayLike<number>;
}

const id = number("a token id", (value) => Number.isInteger(value) && value >= 0);

/** Every traced tile is another one: nothing is taken from the cache. */
let traced = 0;

/** The insides of a model. @throws EngineError bad-input, disposed */
function insides(vlm: InternVL): Parts {
  if (!(vlm instanceof InternVL)) throw wrong("the model", vlm, "an InternVL", "give what InternVL.load has returned");
  return partsOf(vlm);
}

const anything = (value: unknown): unknown => value;
const TRACE = { pixelValues: anything, inputIds: anything };

/** The ids of a prompt, checked. */
function toIds(ids: unknown, { tokenizer, model }: Parts, context = model.maxContext): number[] {
  const isList = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
  if (!isList) throw wrong("inputIds", ids, "a list of token ids");
  const list = Array.from(ids as ArrayLike<number>);
  const odd = list.findIndex(
    (id) => !Number.isInteger(id) || id < 0 || id >= Math.max(tokenizer.vocabSize, model.config.language.vocabSize),
  );
  if (odd >= 0) throw wrong(`inputIds[${odd}]`, list[odd], "an id of the vocabulary");
  if (list.length > context) {
    const hint = "give fewer, or load with a larger maxContext";
    throw new EngineError("context-overflow", `inputIds has ${list.length} ids, the context has ${context}`, { hint });
  }
  return list;
}

function toTiles(values: unknown, tileSize: number): (Tiles & { data: Float32Array }) | undefined {
  if (values === undefined || values === null) return undefined;
  const needs = "a Float32Array, or { data, shape } with one";
  const { data, shape } = reading("pixelValues", () => {
    if (values instanceof Float32Array) return { data: values, shape: [values.length / (3 * tileSize ** 2), 3, tileSize, tileSize] };
    const { data, shape } = isRecord(values) ? values : {};
    if (!(data instanceof Float32Array) || !Array.isArray(shape)) throw wrong("pixelValues", values, needs);
    return { data, shape: shape as number[] };
  });
  const [tiles, channels, height, width] = shape;
  if (
    shape.length !== 4 ||
    channels !== 3 ||
    height !== width ||
    !Number.isInteger(tiles) ||
    tiles! < 1 ||
    data.length !== tiles! * 3 * height! * width!
  ) {
    throw new EngineError("bad-input", `pixelValues has ${data.length} values and shape [${shape}], needs [tiles, 3, size, size]`, {
      hint: "give what `tiles` makes of a picture, or its values with their shape",
    });
  }
  const perTile = 3 * height! ** 2;
  return {
    count: tiles!,
    size: height!,
    keys: Array.from({ length: tiles! }, () => `traced ${traced++}`),
    pixels: (tile) => data.subarray(tile * perTile, (tile + 1) * perTile) as Float32Array<ArrayBuffer>,
    data,
  };
}

/** Copies tapped activations into buffers of their own and gathers them on the CPU, step after step. */
function recorderOf({ gpu: { memory } }: Model) {
  const taps = new Map<string, { buffer: GPUBuffer; rowBytes: number; unit: number; pieces: Float32Array[] }>();
  const tap: Tap = (name, x, program) => {
    const rowBytes = x.width * 4;
    const { unit } = x.rows;
    const buffer = memory.create(`trace ${name}`, program.maxRows(x.rows) * rowBytes, GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST);
    taps.set(name, { buffer, rowBytes, unit, pieces: [] });
    program.copy({ from: x.buffer, to: buffer, range: (step) => ({ fromOffset: 0, toOffset: 0, bytes: unit * step.units * rowBytes }) });
  };
  return {
    tap,
    async collect(units: number): Promise<void> {
      for (const { buffer, rowBytes, unit, pieces } of taps.values())
        pieces.push(new Float32Array(await memory.read(buffer, 0, units * unit * rowBytes)));
    },
    /** Moves what was gathered into `result` and frees the buffers. */
    finish(result: Map<string, Float32Array>): void {
      for (const [name, { buffer, pieces }] of taps) {
        const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
        let at = 0;
        for (const piece of pieces) {
          all.set(piece, at);
          at += piece.length;
        }
        if (pieces.length > 0) result.set(name, all);
        memory.destroy(buffer);
      }
    },
  };
}

async function traceVision(model: Model, tiles: Tiles, result: Map<string, Float32Array>): Promise<VisualLayout> {
  const recorder = recorderOf(model);
  const stage = await model.visionStage(tiles.size, recorder.tap);
  const layout = model.visual.place(tiles.keys, 0, stage.tokens);
  while (layout.missing.length > 0) {
    const batch = layout.missing.splice(0, stage.program.maxUnits);
    await model.runVision(tiles, batch, layout, stage);
    await recorder.collect(batch.length);
  }
  recorder.finish(result);
  stage.program.dispose();
  for (const buffer of [stage.pixels, stage.position]) model.gpu.memory.destroy(buffer);
  return layout;
}

/**
 * One forward pass with every intermediate, by its name in `golden`: `pixel_values`, `vit.embeddings`, `vit.layer.i`,
 * `pixel_shuffle`, `mlp1`, `input_embeds`, `llm.layer.i`, `llm.norm`, `logits` (all positions), each flat and row-major.
 * Without `inputIds` (an empty list) only the vision part runs.
 *
 * @example
 * ```ts
 * const trace = await traceForward(vlm, { inputIds: [1, 2, 3] });
 * trace.get("logits"); // [3, vocab]
 * ```
 */
export async function traceForward(vlm: InternVL, request: TraceRequest): Promise<Map<string, Float32Array>> {
  const parts = insides(vlm);
  const { model, config, imageContextId, scheduler } = parts;
  const read = readOptions("traceForward", request, TRACE);
  const inputIds = toIds(read.inputIds, parts);
  const tiles = toTiles(read.pixelValues, config.tileSize);
  return scheduler.alone(async () => {
    const result = new Map<string, Float32Array>();
    if (tiles) result.set("pixel_values", tiles.data);
    const layout = tiles && (await traceVision(model, tiles, result));
    if (inputIds.length > 0) {
      const recorder = recorderOf(model);
      const { program, dispose } = await recordTrace(model.decoder.parts, recorder.tap, inputIds.length);
      await model.decoder.prefill(0, model.mergeIds(inputIds, imageContextId, layout), 0, {
        program,
        after: (_start, units) => recorder.collect(units),
      });
      recorder.finish(result);
      dispose();
    }
    return result;
  });
}

/**
 * Greedy generation of `steps` tokens, stop tokens not heeded: the ids, and for each the logits [vocab] it was chosen from.
 *
 * @example
 * ```ts
 * const { ids, logits } = await generateTrace(vlm, { inputIds: [1, 2, 3], steps: 2 });
 * ```
 */
export async function generateTrace(
  vlm: InternVL,
  asked: TraceRequest & { steps: number },
): Promise<{ ids: number[]; logits: Float32Array[] }> {
  const parts = insides(vlm);
  const { model, config, imageContextId, scheduler } = parts;
  const { pixelValues, inputIds, steps } = readOptions("generateTrace", asked, { ...TRACE, steps: count });
  if (steps === undefined) throw wrong("steps", steps, "a positive integer");
  const request = { inputIds: toIds(inputIds, parts), images: toTiles(pixelValues, config.tileSize), imageContextId, maxTokens: steps };
  return scheduler.alone(async (engine) => {
    const ids: number[] = [];
    const logits: Float32Array[] = [];
    const { decoder } = model;
    engine.check(request);
    let units = 0;
    for await (units of engine.prefill(0, request, 0, () => false)); // every position is computed here, none taken from the cache
    await engine.first(0, units, { sampling: GREEDY, tell: false });
    for (let position = request.inputIds.length; ids.length < steps; position++) {
      logits.push(await decoder.readLogits());
      ids.push(await decoder.readId());
      if (ids.length < steps) decoder.decode([position]);
    }
    return { ids, logits };
  });
}

/**
 * Greedy generation for several prompts in one decode loop, a row each: at most `steps` ids a row, a row leaves with `stopId`.
 * @throws EngineError bad-input for more rows than decode together
 *
 * @example
 * ```ts
 * const rows = await generateBatch(vlm, [{ inputIds: [1, 2, 3] }, { inputIds: [4] }], { steps: 2, maxContext: 64 });
 * ```
 */
export async function generateBatch(
  vlm: InternVL,
  requests: readonly TraceRequest[],
  options: { steps: number; stopId?: number; maxContext: number },
): Promise<number[][]> {
  const parts = insides(vlm);
  const { model, config, imageContextId, scheduler } = parts;
  const { steps, stopId, maxContext } = readOptions("generateBatch", options, { steps: count, stopId: id, maxContext: count });
  if (steps === undefined) throw wrong("steps", steps, "a positive integer");
  if (maxContext === undefined) throw wrong("maxContext", maxContext, "a positive integer");
  if (!Array.isArray(requests)) throw wrong("what generateBatch was given as requests", requests, "a list of { inputIds, pixelValues }");
  const rows = requests.map((each) => {
    const { pixelValues, inputIds } = readOptions("a request of generateBatch", each, TRACE);
    const images = toTiles(pixelValues, config.tileSize);
    return { inputIds: toIds(inputIds, parts, maxContext), images, imageContextId, maxTokens: steps, maxContext };
  });
  const room = model.slotsIn(Number.POSITIVE_INFINITY, maxContext);
  if (requests.length > room)
    throw new EngineError("bad-input", `${requests.length} rows, at most ${room} decode together`, {
      hint: "load with more slots or kvBytes, or give fewer rows",
    });
  const release = scheduler.reserve(rows.length);
  try {
    return await Promise.all(
      rows.map(async (row) => {
        const ids: number[] = [];
        await scheduler.admit(row, (id) => ids.push(id) >= steps || id === stopId);
        return ids;
      }),
    );
  } finally {
    await release();
  }
}

/**
 * The tiles that the model would see of a PNG or JPEG file: the grid, and RGB bytes, tiles in order, each [tileSize, tileSize, 3].
 *
 * @example
 * ```ts
 * const { grid } = await tiles(await readFile("photo.png"), { maxTiles: 6 });
 * ```
 */
export async function tiles(
  bytes: Uint8Array,
  options: { maxTiles?: number; tileSize?: number; thumbnail?: boolean } = {},
): Promise<{ grid: [columns: number, rows: number]; tiles: Uint8Array }> {
  if (!(bytes instanceof Uint8Array)) throw wrong("the picture", bytes, "the bytes of a PNG or JPEG file, a Uint8Array");
  const read = readOptions("tiles", options, { maxTiles: tileCount, tileSize: count, thumbnail: flag });
  const { grid, tiles } = tileImage(await decodeImage(bytes), read);
  return { grid, tiles };
}

/**
 * The tokenizer of a checkpoint folder.
 *
 * @example
 * ```ts
 * const { encode, decode } = await tokenizer("OpenGVLab/InternVL2_5-1B");
 * console.log(decode(encode("What shape is it?"))); // What shape is it?
 * ```
 */
export async function tokenizer(folder: string | WeightSource): Promise<Tokenizer> {
  const source = await openSource(folder);
  return loadTokenizer((name) => readSmall(source, name));
}
