import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type Matrix, type MatrixDtype, type MatrixPart, type Vector } from "../tensor/tensor.ts";
import { fileOrigin, type Origin, type StoredTensor } from "./origin.ts";
import type { RowBlock, RowsSource } from "./rows.ts";
import { Uploads, widen } from "./uploads.ts";

/** How matrices are held on the GPU; `auto`: as the checkpoint stores them, or in the best format that fits. */
export type WeightFormat = "auto" | MatrixDtype;

export const PLAIN: Readonly<Record<string, PlainDtype>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** The codes of a quantised tensor: q8 as I8 [out, K], q4 as U8 [out, K / 2]; its scales are F16 [out, K / 32]. */
export const CODES: Readonly<Record<string, "q8" | "q4">> = { I8: "q8", U8: "q4" };
export const SCALES_SUFFIX = ".scales";

/** The dtype that a checkpoint's matrices are stored in: that of its first matrix, or the format that it was converted to. */
export function storedFormat(origin: Origin): MatrixDtype {
  let plain: PlainDtype | undefined;
  for (const name of origin.names()) {
    const { dtype, shape } = origin.get(name)!;
    if (shape.length !== 2) continue;
    if (CODES[dtype] && origin.get(name + SCALES_SUFFIX)) return CODES[dtype];
    if (!name.endsWith(SCALES_SUFFIX)) plain ??= PLAIN[dtype];
  }
  return plain ?? "f32";
}

interface Loading {
  gpu: Gpu;
  origin: Origin;
  format: WeightFormat;
  signal?: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
  uploads: Uploads;
}

interface Found {
  dtype: MatrixDtype;
  full: string;
}

/** The dtype that holds the values of all: tensors of one product may be stored in several (q in f32 beside k and v in bf16). */
function widest(label: string, dtypes: readonly MatrixDtype[]): MatrixDtype {
  const [first] = dtypes;
  if (dtypes.every((dtype) => dtype === first)) return first!;
  if (!dtypes.some(isQuantized)) return "f32"; // neither f16 nor bf16 holds the other's values
  throw new EngineError("bad-weights", `the tensors ${label} are stored as ${dtypes.join(", ")}`, {
    hint: "convert the whole checkpoint anew with `internvl convert`",
  });
}

const MISMATCH = { hint: "config.json and the safetensors files must be of one checkpoint" };

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
    from: Checkpoint | Origin,
    options: { format: WeightFormat; signal?: AbortSignal | undefined; onBytes: (bytes: number) => void },
  ): Weights {
    const origin = "tensors" in from ? fileOrigin(gpu, from) : from;
    const uploads = new Uploads(gpu, origin, options.onBytes, options.signal);
    return new Weights({ gpu, origin, ...options, uploads }, "");
  }

  /** The tensors whose names begin with `name.`. */
  at(name: string | number): Weights {
    return new Weights(this.#loading, `${this.#prefix}${name}.`);
  }

  has(name: string): boolean {
    return this.#loading.origin.get(this.#prefix + name) !== undefined;
  }

  /** Fills the matrices and vectors that were asked for. @throws EngineError bad-weights where values did not fit the format */
  finish(): Promise<void> {
    return this.#loading.uploads.run();
  }

  #stored(full: string, shape: readonly number[]): StoredTensor {
    const tensor = this.#loading.origin.get(full);
    if (!tensor)
      throw new EngineError("bad-weights", `tensor "${full}" is missing; config.json asks for it with shape [${shape}]`, MISMATCH);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new EngineError("bad-weights", `tensor "${full}" has shape [${tensor.shape}], needs [${shape}]`, MISMATCH);
    }
    return tensor;
  }

  #plain(name: string, shape: readonly number[]): { tensor: StoredTensor; dtype: PlainDtype; full: string } {
    const full = this.#prefix + name;
    const tensor = this.#stored(full, shape);
    const dtype = PLAIN[tensor.dtype];
    if (!dtype)
      throw new EngineError("bad-weights", `tensor "${full}" has dtype ${tensor.dtype}, supported: ${Object.keys(PLAIN).join(", ")}`);
    return { tensor, dtype, full };
  }

  /** A matrix's tensor; a converted checkpoint has its scales beside it. */
  #matrix(name: string, shape: readonly number[]): Found {
    const full = this.#prefix + name;
    const dtype = this.has(name + SCALES_SUFFIX) ? CODES[this.#loading.origin.get(full)?.dtype ?? ""] : undefined;
    const [out, inner] = shape;
    if (!dtype || shape.length !== 2) return this.#plain(name, shape);
    const scales = this.#stored(full + SCALES_SUFFIX, [out!, inner! / GROUP]);
    if (scales.dtype !== "F16")
      throw new EngineError("bad-weights", `tensor "${full}${SCALES_SUFFIX}" has dtype ${scales.dtype}, needs F16`);
    this.#stored(full, [out!, dtype === "q8" ? inner! : inner! / 2]);
    return { dtype, full };
  }

  /** A tensor's values as f32, on the CPU, at once. */
  async values(name: string, shape: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    const { tensor, dtype } = this.#plain(name, shape);
    const { signal, onBytes } = this.#loading;
    const bytes = await tensor.read(signal);
    onBytes(bytes.byteLength);
    return widen(this.#prefix + name, bytes, dtype);
  }

  /** Several vectors one after the other, as one f32 vector on the GPU. Its values are there when `finish` is done. */
  vectors(names: readonly (readonly [name: string, shape: readonly number[]])[]): Vector {
    const { gpu, uploads } = this.#loading;
    const parts = names.map(([name, shape]) => ({
      ...this.#plain(name, shape),
      length: shape.reduce((product, size) => product * size, 1),
    }));
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const label = this.#prefix + names.map(([name]) => name).join("+");
    const buffer = gpu.memory.createToFill(label, length * 4);
    let first = 0;
    for (const part of parts) {
      uploads.addValues(part.full, part.dtype, buffer, first);
      first += part.length;
    }
    return { label, length, buffer };
  }

  vector(name: string, length: number): Vector {
    return this.vectors([[name, [length]]]);
  }

  matrix(name: string, out: number, inner: number, storedShape: readonly number[] = [out, inner]): Promise<Matrix> {
    return this.matrices([{ name, rows: out, shape: storedShape }], inner);
  }

  /** The dtype on the GPU of a matrix that is stored as `stored`. */
  #target(label: string, stored: MatrixDtype, inner: number): MatrixDtype {
    const { format } = this.#loading;
    if (format === "auto" || format === stored) return stored;
    if (isQuantized(stored)) {
      throw new EngineError("bad-input", `the checkpoint holds ${label} in ${stored}, asked was ${format}`, {
        hint: `load it with weights: "auto", or take the checkpoint that it was converted from`,
      });
    }
    // Rows that are no whole groups (the patch embedding's 588 columns) stay as they are stored.
    return isQuantized(format) && inner % GROUP !== 0 ? stored : format;
  }

  /**
   * Several tensors [rows, inner] as one matrix, one below the other (q, k and v; gate and up). Its storage is there at once, and its
   * values when `finish` is done. `blocks` reorders the rows of a tensor (InternLM2's wqkv).
   */
  async matrices(
    sources: readonly { name: string; rows: number; shape?: readonly number[]; blocks?: readonly RowBlock[] }[],
    inner: number,
  ): Promise<Matrix> {
    const found = sources.map(({ name, rows, shape = [rows, inner] }) => this.#matrix(name, shape));
    const label = found.map(({ full }) => full).join("+");
    const stored = widest(
      label,
      found.map(({ dtype }) => dtype),
    );
    const dtype = this.#target(label, stored, inner);
    const out = sources.reduce((sum, { rows }) => sum + rows, 0);
    const matrix: Matrix = { label, shape: [out, inner], dtype, parts: await this.#createParts(label, out, inner, dtype, stored) };
    let base = 0;
    const placed: (RowsSource & { stored: MatrixDtype })[] = [];
    for (const [i, { rows, blocks = [{ from: 0, to: 0, rows }] }] of sources.entries()) {
      const { full, dtype } = found[i]!;
      placed.push({ name: full, stored: dtype, base, blocks });
      base += rows;
    }
    const { uploads } = this.#loading;
    uploads.addMatrix(matrix, placed);
    const scales = placed.map((source): RowsSource => ({ ...source, name: source.name + SCALES_SUFFIX }));
    if (isQuantized(stored)) uploads.addScales(matrix, scales);
    return matrix;
  }

  /** Storage for a matrix, split by rows so that each part fits a binding. Out of memory is told here, not at the end of the load. */
  async #createParts(label: string, out: number, inner: number, dtype: MatrixDtype, stored: MatrixDtype): Promise<MatrixPart[]> {
    const { memory } = this.#loading.gpu;
    const rowBytes = inner * BYTES_PER_ELEMENT[dtype];
    const perPart = Math.floor(memory.maxBinding / rowBytes);
    if (perPart === 0)
      throw new EngineError("limit-exceeded", `a row of ${label} needs ${rowBytes} bytes, over this adapter's binding size`);
    return memory.scoped(`the weights ${label}`, async () => {
      const parts: MatrixPart[] = [];
      for (let rowStart = 0; rowStart < out; rowStart += perPart) {
        const rows = Math.min(perPart, out - rowStart);
        const buffer = memory.createToFill(label, rows * rowBytes);
        const part = { rowStart, rows, buffer };
        if (!isQuantized(dtype)) parts.push(part);
        else {
          const [name, bytes] = [`${label} scales`, (rows * inner * 2) / GROUP];
          parts.push({ ...part, scales: dtype === stored ? memory.createToFill(name, bytes) : memory.create(name, bytes) });
        }
      }
      return parts;
    });
  }
}
