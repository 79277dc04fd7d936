import { late } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type Matrix, type MatrixDtype, widenBf16, widenF16 } from "../tensor/tensor.ts";
import { countNonFinite, FiniteCheck, nonFinite } from "./finite.ts";
import type { Converter } from "./quantize.ts";
import { destinations, type RowsSource } from "./rows.ts";
import { scalesSink } from "./scales.ts";
import type { Chunk, TensorSource } from "./tensor-source.ts";

// Writes wait in staging memory until the queue takes them: after this many bytes we wait until it has taken the ones before.
const FLUSH_BYTES = 32 * 2 ** 20;

/** A stored tensor that is to become rows of a matrix on the GPU. */
interface Upload extends RowsSource {
  stored: MatrixDtype;
  matrix: Matrix;
}

interface Pending extends Upload {
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

/**
 * Fills matrices and vectors: first they are all told, then their tensors are read in the order in which they lie in the files. There the
 * vectors lie between the matrices, so that they take no reads of their own.
 */
export class Uploads {
  readonly #gpu: Gpu;
  readonly #source: TensorSource;
  readonly #signal: AbortSignal | undefined;
  readonly #onBytes: (bytes: number) => void;
  #sinks = new Map<string, Sink[]>();
  readonly #finite: FiniteCheck;
  #converter: Converter | undefined;
  readonly #toConvert: Pending[] = [];
  #unflushed = 0;
  #flushing: Promise<void> | undefined;

  constructor(gpu: Gpu, source: TensorSource, onBytes: (bytes: number) => void, signal: AbortSignal | undefined) {
    this.#gpu = gpu;
    this.#source = source;
    this.#signal = signal;
    this.#onBytes = onBytes;
    this.#finite = new FiniteCheck(gpu, source);
  }

  #add(name: string, sink: Sink): void {
    const others = this.#sinks.get(name);
    if (others) others.push(sink);
    else this.#sinks.set(name, [sink]);
  }

  /** Tensors become a matrix, each its rows, as they are or converted. */
  addMatrix(matrix: Matrix, sources: readonly (RowsSource & { stored: MatrixDtype })[]): void {
    for (const source of sources) this.#addRows({ ...source, matrix });
    const { dtype, parts, shape } = matrix;
    if (isQuantized(dtype)) return; // the conversion counts what it meets, and stored codes are whole numbers
    const plain = sources.map(({ name, stored }) => ({ name, stored: stored as PlainDtype }));
    const ranges = parts.map(({ buffer, rows }) => ({ words: buffer, bytes: rows * shape[1] * BYTES_PER_ELEMENT[dtype] }));
    this.#finite.watch({ ranges, held: dtype, sources: plain });
  }

  #addRows(upload: Upload): void {
    const pending: Pending = { ...upload, counter: 0 };
    if (upload.matrix.dtype !== upload.stored) this.#toConvert.push(pending);
    this.#add(upload.name, (chunk) => this.#put(chunk, pending));
  }

  /** A tensor's values go as f32 to `put`, some after the other; `at` counts elements. */
  addValues(name: string, stored: PlainDtype, put: (at: number, values: Float32Array<ArrayBuffer>) => void): void {
    this.#add(name, async (chunk) => {
      const values = widen(name, await chunk.bytes(), stored);
      put(chunk.offset / BYTES_PER_ELEMENT[stored], values);
      await this.#written(values.byteLength);
    });
  }

  /** Tensors become the scales of a quantised matrix, each those of its rows. */
  addScales(matrix: Matrix, sources: readonly RowsSource[]): void {
    const take = scalesSink(this.#gpu, matrix);
    for (const source of sources) this.#add(source.name, async (chunk) => this.#written(await take(chunk, source)));
    const names = sources.map(({ name }) => ({ name, stored: "f16" as const }));
    const ranges = matrix.parts.map(({ scales, rows }) => ({ words: scales!, bytes: (rows * matrix.shape[1] * 2) / GROUP }));
    this.#finite.watch({ ranges, held: "f16", sources: names });
  }

  /** Makes what converts, where something is to be: its storage belongs to what was added. */
  async prepare(): Promise<void> {
    if (this.#toConvert.length === 0) return;
    const { Converter } = await late("what converts weights", import("./quantize.ts"));
    this.#converter ??= new Converter(this.#gpu);
    for (const pending of this.#toConvert.splice(0)) pending.counter = this.#converter.counter(pending.name, pending.matrix.dtype);
  }

  /** Fills everything that was added since the last time. @throws EngineError bad-weights where values do not fit the format, or are none */
  async run(): Promise<void> {
    const sinks = this.#sinks;
    this.#sinks = new Map();
    for await (const chunk of this.#source.stream(sinks.keys(), this.#signal)) {
      this.#signal?.throwIfAborted();
      this.#onBytes(chunk.length);
      for (const take of sinks.get(chunk.name)!) await take(chunk);
    }
    await this.#flushing;
    const converter = this.#converter;
    this.#converter = undefined;
    await converter?.finish();
    await this.#finite.run(this.#signal);
  }

  /** Puts each block of rows in its place, as it is or converted. */
  async #put(chunk: Chunk, upload: Pending): Promise<void> {
    const { stored, matrix, counter } = upload;
    const size = BYTES_PER_ELEMENT[stored];
    for (const { part, from, to, at } of destinations(chunk, upload, matrix, matrix.shape[1] * size)) {
      if (matrix.dtype === stored) await chunk.put(from, to, part.buffer, at);
      else await this.#converter!.convert(chunk, [from, to], stored as PlainDtype, matrix.dtype, part, at / size, counter);
      await this.#written(to - from);
    }
  }

  async #written(bytes: number): Promise<void> {
    this.#unflushed += bytes;
    if (this.#unflushed < FLUSH_BYTES) return;
    this.#unflushed = 0;
    await this.#flushing;
    this.#flushing = this.#gpu.memory.flush();
    this.#flushing.catch(() => {}); // told when it is awaited
  }
}
