import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Checkpoint, openCheckpoint, readPieces, readTensor, SafetensorsError, type TensorEntry } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT, type Matrix, type MatrixDtype, type MatrixPart, type Vector, widenBf16, widenF16 } from "../tensor/tensor.ts";
import type { WeightSource } from "./source.ts";

/** How matrices are held on the GPU: `auto` as the checkpoint stores them, `f32` widened exactly. */
export type WeightFormat = "auto" | "f32";

// Writes wait in staging memory until the queue takes them: after this many bytes we wait for it.
const FLUSH_BYTES = 128 * 2 ** 20;

const STORED: Readonly<Record<string, MatrixDtype>> = { F32: "f32", F16: "f16", BF16: "bf16" };

function widen(bytes: Uint8Array, dtype: MatrixDtype): Float32Array<ArrayBuffer> {
  const aligned = new Uint8Array(bytes).buffer; // a copy: the piece may begin at an odd offset of a larger buffer
  if (dtype === "f32") return new Float32Array(aligned);
  const bits = new Uint16Array(aligned);
  return dtype === "bf16" ? widenBf16(bits) : widenF16(bits);
}

/** A run of consecutive rows of a stored tensor and where they go in the matrix on the GPU. */
export interface RowBlock {
  from: number;
  to: number;
  rows: number;
}

/** Opens the safetensors files; what is wrong with them becomes a `bad-weights`. */
export async function openWeights(source: WeightSource, signal?: AbortSignal): Promise<Checkpoint> {
  return asBadWeights(() => openCheckpoint(source, signal ? { signal } : {}));
}

async function asBadWeights<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new EngineError("bad-weights", error.message, { ...(error.hint ? { hint: error.hint } : {}), cause: error });
  }
}

interface Loading {
  gpu: Gpu;
  checkpoint: Checkpoint;
  format: WeightFormat;
  signal?: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
  unflushed: number;
}

/**
 * Tensors by name below a prefix. The caller states every shape; it is checked on fetch, so that the model's code
 * reads as its structure (after candle's VarBuilder).
 */
export class Weights {
  readonly #loading: Loading;
  readonly #prefix: string;

  private constructor(loading: Loading, prefix: string) {
    this.#loading = loading;
    this.#prefix = prefix;
  }

  static of(
    gpu: Gpu,
    checkpoint: Checkpoint,
    options: { format: WeightFormat; signal?: AbortSignal | undefined; onBytes: (bytes: number) => void },
  ): Weights {
    return new Weights({ gpu, checkpoint, ...options, unflushed: 0 }, "");
  }

  /** The tensors whose names begin with `name.`. */
  at(name: string | number): Weights {
    return new Weights(this.#loading, `${this.#prefix}${name}.`);
  }

  has(name: string): boolean {
    return this.#loading.checkpoint.tensors.has(this.#prefix + name);
  }

  #entry(name: string, shape: readonly number[]): { entry: TensorEntry; dtype: MatrixDtype; full: string } {
    const full = this.#prefix + name;
    const entry = this.#loading.checkpoint.tensors.get(full);
    if (!entry) {
      throw new EngineError("bad-weights", `tensor "${full}" is missing; config.json asks for it with shape [${shape}]`, {
        hint: "config.json and the safetensors files must be of one checkpoint",
      });
    }
    const { info } = entry;
    if (info.shape.length !== shape.length || info.shape.some((size, i) => size !== shape[i])) {
      throw new EngineError("bad-weights", `tensor "${full}" has shape [${info.shape}], needs [${shape}]`, {
        hint: "config.json and the safetensors files must be of one checkpoint",
      });
    }
    const dtype = STORED[info.dtype];
    if (!dtype)
      throw new EngineError("bad-weights", `tensor "${full}" has dtype ${info.dtype}, supported: ${Object.keys(STORED).join(", ")}`);
    return { entry, dtype, full };
  }

  /** A tensor's values as f32, on the CPU. */
  async values(name: string, shape: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    const { entry, dtype } = this.#entry(name, shape);
    const { signal, onBytes } = this.#loading;
    const bytes = await asBadWeights(() => readTensor(entry, signal ? { signal } : {}));
    onBytes(bytes.byteLength);
    return widen(bytes, dtype);
  }

  /** Several vectors one after the other, as one f32 vector on the GPU. */
  async vectors(names: readonly (readonly [name: string, shape: readonly number[]])[]): Promise<Vector> {
    const { memory } = this.#loading.gpu;
    const parts: Float32Array[] = [];
    for (const [name, shape] of names) parts.push(await this.values(name, shape));
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const all = new Float32Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    const label = this.#prefix + names.map(([name]) => name).join("+");
    const buffer = memory.create(label, length * 4);
    memory.write(buffer, 0, all);
    return { label, length, buffer };
  }

  vector(name: string, length: number): Promise<Vector> {
    return this.vectors([[name, [length]]]);
  }

  matrix(name: string, out: number, inner: number, storedShape: readonly number[] = [out, inner]): Promise<Matrix> {
    return this.matrices([{ name, rows: out, shape: storedShape }], inner);
  }

  /**
   * Several tensors [rows, inner] as one matrix, one below the other (q, k and v; gate and up), streamed piece by piece.
   * `blocks` reorders the rows of a tensor (InternLM2's wqkv).
   */
  async matrices(
    sources: readonly { name: string; rows: number; shape?: readonly number[]; blocks?: readonly RowBlock[] }[],
    inner: number,
  ): Promise<Matrix> {
    const { gpu, format } = this.#loading;
    const found = sources.map(({ name, rows, shape = [rows, inner] }) => this.#entry(name, shape));
    const label = found.map(({ full }) => full).join("+");
    const stored = found[0]!.dtype;
    if (found.some(({ dtype }) => dtype !== stored)) throw new EngineError("bad-weights", `the tensors ${label} differ in dtype`);
    const dtype = format === "f32" ? "f32" : stored;
    const out = sources.reduce((sum, { rows }) => sum + rows, 0);
    const rowBytes = inner * BYTES_PER_ELEMENT[dtype];
    const perPart = Math.floor(gpu.memory.maxBinding / rowBytes);
    if (perPart === 0)
      throw new EngineError("limit-exceeded", `a row of ${label} needs ${rowBytes} bytes, over this adapter's binding size`);
    const parts: MatrixPart[] = [];
    for (let rowStart = 0; rowStart < out; rowStart += perPart) {
      const rows = Math.min(perPart, out - rowStart);
      parts.push({ rowStart, rows, buffer: gpu.memory.create(label, rows * rowBytes) });
    }
    const matrix: Matrix = { label, shape: [out, inner], dtype, parts };
    let base = 0;
    for (const [i, { rows, blocks = [{ from: 0, to: 0, rows }] }] of sources.entries()) {
      await this.#stream(found[i]!.entry, stored, matrix, base, blocks);
      base += rows;
    }
    return matrix;
  }

  /** Reads a tensor in pieces and puts each block of rows in its place. */
  async #stream(entry: TensorEntry, stored: MatrixDtype, matrix: Matrix, base: number, blocks: readonly RowBlock[]): Promise<void> {
    const { signal, onBytes } = this.#loading;
    const rowBytes = matrix.shape[1] * BYTES_PER_ELEMENT[stored];
    await asBadWeights(async () => {
      for await (const { offset, bytes } of readPieces(entry, signal ? { signal } : {})) {
        onBytes(bytes.byteLength);
        for (const block of blocks) {
          // The part of this block that lies in this piece, in bytes of the stored tensor.
          const from = Math.max(offset, block.from * rowBytes);
          const to = Math.min(offset + bytes.byteLength, (block.from + block.rows) * rowBytes);
          if (from >= to) continue;
          const target = (base + block.to) * rowBytes + (from - block.from * rowBytes);
          await this.#write(matrix, stored, target, bytes.subarray(from - offset, to - offset));
        }
      }
    });
  }

  /** Writes stored bytes that begin `target` bytes into the matrix (counted in the stored dtype) to the parts they belong to. */
  async #write(matrix: Matrix, stored: MatrixDtype, target: number, bytes: Uint8Array): Promise<void> {
    const loading = this.#loading;
    const { memory } = loading.gpu;
    const growth = BYTES_PER_ELEMENT[matrix.dtype] / BYTES_PER_ELEMENT[stored];
    const rowBytes = matrix.shape[1] * BYTES_PER_ELEMENT[stored];
    for (const part of matrix.parts) {
      const start = part.rowStart * rowBytes;
      const from = Math.max(target, start);
      const to = Math.min(target + bytes.byteLength, start + part.rows * rowBytes);
      if (from >= to) continue;
      const piece = bytes.subarray(from - target, to - target);
      const data = growth === 1 ? (piece as Uint8Array<ArrayBuffer>) : widen(piece, stored);
      memory.write(part.buffer, (from - start) * growth, data);
      loading.unflushed += data.byteLength;
      if (loading.unflushed >= FLUSH_BYTES) {
        loading.unflushed = 0;
        await memory.flush();
      }
    }
  }
}
