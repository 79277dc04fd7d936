import { late } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type Matrix, type MatrixDtype, widenBf16, widenF16 } from "../tensor/tensor.ts";
import { countNonFinite, finiteCheck, nonFinite } from "./finite.ts";
import type { Converter } from "./quantize.ts";
import { destinations, type RowsSource } from "./rows.ts";
import { scalesSink } from "./scales.ts";
import type { Chunk, TensorSource } from "./tensor-source.ts";

// Writes wait in staging memory until the queue takes them: after this many bytes we wait until it has taken the ones before.
const FLUSH_BYTES = 32 * 2 ** 20;

/** A stored tensor that is to become rows of a matrix on the GPU. */
interface Pending extends RowsSource {
  stored: MatrixDtype;
  matrix: Matrix;
  /** The converter's count of what it refuses of this tensor. */
  counter: number;
}

/** What becomes of a tensor's bytes, chunk by chunk. */
type Sink = (chunk: Chunk) => Promise<void>;

/** A plain tensor's values as f32. @throws EngineError bad-weights where one is infinite or no number */
export function widen(name: string, bytes: Uint8Array, dtype: PlainDtype): Float32Array<ArrayBuffer> {
  const count = countNonFinite(bytes, dtype);
  if (count > 0) throw nonFinite(name, count);
  const aligned = new Uint8Array(bytes).buffer; // a copy: the bytes may begin at an odd offset of a larger buffer
  if (dtype === "f32") return new Float32Array(aligned);
  const bits = new Uint16Array(aligned);
  return dtype === "bf16" ? widenBf16(bits) : widenF16(bits);
}

/** What fills matrices and vectors on a device from a checkpoint. */
export type Uploads = ReturnType<typeof uploadsOf>;

/**
 * Fills matrices and vectors: first they are all told, then their tensors are read in the order in which they lie in the files. There the
 * vectors lie between the matrices, so that they take no reads of their own.
 */
export function uploadsOf(gpu: Gpu, source: TensorSource, onBytes: (bytes: number) => void, signal: AbortSignal | undefined) {
  const finite = finiteCheck(gpu, source);
  const toConvert: Pending[] = [];
  let sinks = new Map<string, Sink[]>();
  let converter: Converter | undefined;
  let unflushed = 0;
  let flushing: Promise<void> | undefined;

  const add = (name: string, sink: Sink): void => void sinks.set(name, [...(sinks.get(name) ?? []), sink]);

  async function written(bytes: number): Promise<void> {
    unflushed += bytes;
    if (unflushed < FLUSH_BYTES) return;
    unflushed = 0;
    await flushing;
    flushing = gpu.memory.flush();
    flushing.catch(() => {}); // told when it is awaited
  }

  /** Puts each block of rows in its place, as it is or converted. */
  async function put(chunk: Chunk, upload: Pending): Promise<void> {
    const { stored, matrix, counter } = upload;
    const size = BYTES_PER_ELEMENT[stored];
    for (const { part, from, to, at } of destinations(chunk, upload, matrix, matrix.shape[1] * size)) {
      if (matrix.dtype === stored) await chunk.put(from, to, part.buffer, at);
      else await converter!.convert(chunk, [from, to], stored as PlainDtype, matrix.dtype, part, at / size, counter);
      await written(to - from);
    }
  }

  return {
    /** Tensors become a matrix, each its rows, as they are or converted. */
    addMatrix(matrix: Matrix, sources: readonly (RowsSource & { stored: MatrixDtype })[]): void {
      const { dtype, parts, shape } = matrix;
      for (const source of sources) {
        const pending: Pending = { ...source, matrix, counter: 0 };
        if (dtype !== source.stored) toConvert.push(pending);
        add(source.name, (chunk) => put(chunk, pending));
      }
      if (isQuantized(dtype)) return; // the conversion counts what it meets, and stored codes are whole numbers
      const plain = sources.map(({ name, stored }) => ({ name, stored: stored as PlainDtype }));
      const ranges = parts.map(({ buffer, rows }) => ({ words: buffer, bytes: rows * shape[1] * BYTES_PER_ELEMENT[dtype] }));
      finite.watch({ ranges, held: dtype, sources: plain });
    },

    /** A tensor's values go as f32 to `put`, some after the other; `at` counts elements. */
    addValues(name: string, stored: PlainDtype, put: (at: number, values: Float32Array<ArrayBuffer>) => void): void {
      add(name, async (chunk) => {
        const values = widen(name, await chunk.bytes(), stored);
        put(chunk.offset / BYTES_PER_ELEMENT[stored], values);
        await written(values.byteLength);
      });
    },

    /** Tensors become the scales of a quantised matrix, each those of its rows. */
    addScales(matrix: Matrix, sources: readonly RowsSource[]): void {
      const take = scalesSink(gpu, matrix);
      for (const source of sources) add(source.name, async (chunk) => written(await take(chunk, source)));
      const names = sources.map(({ name }) => ({ name, stored: "f16" as const }));
      const ranges = matrix.parts.map(({ scales, rows }) => ({ words: scales!, bytes: (rows * matrix.shape[1] * 2) / GROUP }));
      finite.watch({ ranges, held: "f16", sources: names });
    },

    /** Makes what converts, where something is to be: its storage belongs to what was added. */
    async prepare(): Promise<void> {
      if (toConvert.length === 0) return;
      converter ??= (await late("what converts weights", import("./quantize.ts"))).converterOn(gpu);
      for (const pending of toConvert.splice(0)) pending.counter = converter.counter(pending.name, pending.matrix.dtype);
    },

    /** Fills everything that was added since the last time. @throws EngineError bad-weights where values do not fit the format, or are none */
    async run(): Promise<void> {
      const wanted = sinks;
      sinks = new Map();
      for await (const chunk of source.stream(wanted.keys(), signal)) {
        signal?.throwIfAborted();
        onBytes(chunk.length);
        for (const take of wanted.get(chunk.name)!) await take(chunk);
      }
      await flushing;
      const done = converter;
      converter = undefined;
      await done?.finish();
      await finite.run(signal);
    },
  };
}
