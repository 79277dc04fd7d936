import type { Gpu } from "../gpu/device.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import { BYTES_PER_ELEMENT, type Matrix, type MatrixDtype } from "../tensor/tensor.ts";
import type { Origin, Stretch } from "./origin.ts";
import { Converter } from "./quantize.ts";

// Writes wait in staging memory until the queue takes them: after this many bytes we wait until it has taken the ones before.
const FLUSH_BYTES = 32 * 2 ** 20;

/** A run of consecutive rows of a stored tensor and where they go in the matrix on the GPU. */
export interface RowBlock {
  from: number;
  to: number;
  rows: number;
}

/** A stored tensor that is to become rows of a matrix on the GPU, from row `base` on. */
export interface Upload {
  name: string;
  stored: MatrixDtype;
  matrix: Matrix;
  base: number;
  blocks: readonly RowBlock[];
}

interface Pending extends Upload {
  /** The converter's count of what it refuses of this tensor. */
  counter: number;
}

/** Fills matrices: first they are all told, then their tensors are read in the order in which they lie in the files. */
export class Uploads {
  readonly #gpu: Gpu;
  readonly #origin: Origin;
  readonly #signal: AbortSignal | undefined;
  readonly #onBytes: (bytes: number) => void;
  #pending = new Map<string, Pending[]>();
  #converter: Converter | undefined;
  #unflushed = 0;
  #flushing: Promise<void> | undefined;

  constructor(gpu: Gpu, origin: Origin, onBytes: (bytes: number) => void, signal: AbortSignal | undefined) {
    this.#gpu = gpu;
    this.#origin = origin;
    this.#signal = signal;
    this.#onBytes = onBytes;
  }

  add(upload: Upload): void {
    const { name, stored, matrix } = upload;
    const converter = matrix.dtype === stored ? undefined : (this.#converter ??= new Converter(this.#gpu));
    const pending: Pending = { ...upload, counter: converter?.counter(name, matrix.dtype) ?? 0 };
    const others = this.#pending.get(name);
    if (others) others.push(pending);
    else this.#pending.set(name, [pending]);
  }

  /** Fills all matrices that were added since the last time. @throws EngineError bad-weights where values did not fit the format */
  async run(): Promise<void> {
    const pending = this.#pending;
    this.#pending = new Map();
    for await (const stretch of this.#origin.stream(pending.keys(), this.#signal)) {
      this.#signal?.throwIfAborted();
      this.#onBytes(stretch.length);
      for (const upload of pending.get(stretch.name)!) await this.#put(stretch, upload);
    }
    await this.#flushing;
    const converter = this.#converter;
    this.#converter = undefined;
    await converter?.finish();
  }

  /** Puts each block of rows in its place, as it is or converted. */
  async #put(stretch: Stretch, { stored, matrix, base, blocks, counter }: Pending): Promise<void> {
    const { offset, length } = stretch;
    const rowBytes = matrix.shape[1] * BYTES_PER_ELEMENT[stored];
    for (const block of blocks) {
      // Where this block's rows begin in the matrix, less where they begin in the tensor: in bytes of the stored dtype.
      const shift = (base + block.to - block.from) * rowBytes;
      for (const part of matrix.parts) {
        const start = part.rowStart * rowBytes;
        const from = Math.max(offset, block.from * rowBytes, start - shift);
        const to = Math.min(offset + length, (block.from + block.rows) * rowBytes, start + part.rows * rowBytes - shift);
        if (from >= to) continue;
        const at = from + shift - start;
        if (matrix.dtype === stored) await stretch.put(from, to, part.buffer, at);
        else {
          const first = at / BYTES_PER_ELEMENT[stored];
          await this.#converter!.convert(stretch, [from, to], stored as PlainDtype, matrix.dtype, part, first, counter);
        }
        await this.#written(to - from);
      }
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
