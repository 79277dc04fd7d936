import { badWeights, EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { scopedOn } from "../gpu/devices.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import {
  BYTES_PER_ELEMENT,
  elementsOf,
  GROUP,
  isQuantized,
  type Matrix,
  type MatrixDtype,
  type MatrixPart,
  type Vector,
} from "../tensor/tensor.ts";
import { CODES, PLAIN, SCALES_SUFFIX, type WeightFormat } from "./formats.ts";
import type { RowsSource } from "./rows.ts";
import { fileTensors, type StoredTensor, type TensorSource } from "./tensor-source.ts";
import { type Uploads, uploadsOf, widen } from "./uploads.ts";
import { type MatrixRows, Weights } from "./weights.ts";

interface LoadOptions {
  format: WeightFormat;
  signal?: AbortSignal | undefined;
  onBytes: (bytes: number) => void;
}

interface Loading extends LoadOptions {
  gpu: Gpu;
  source: TensorSource;
  uploads: Uploads;
}

interface Found {
  /** As it comes. */
  dtype: MatrixDtype;
  /** As `auto` holds it. */
  held: MatrixDtype;
  full: string;
}

/** The dtype that holds the values of all: tensors of one product may be stored in several (q in f32 beside k and v in bf16). */
function widest(label: string, found: readonly Found[]): MatrixDtype {
  const dtypes = found.map(({ held }) => held);
  const [first] = dtypes;
  if (dtypes.every((dtype) => dtype === first)) return first!;
  if (!dtypes.some(isQuantized)) return "f32"; // neither f16 nor bf16 holds the other's values
  throw badWeights(`the tensors ${label} are stored as ${dtypes.join(", ")}`, "convert the whole checkpoint anew with `internvl convert`");
}

const MISMATCH = "config.json and the safetensors files must be of one checkpoint";

/**
 * A checkpoint's tensors on the GPU. A declared shape is checked at once, and storage is there at once; values are there when `load` is done.
 */
export class GpuWeights extends Weights {
  readonly #loading: Loading;
  readonly #prefix: string;

  private constructor(loading: Loading, prefix: string) {
    super();
    this.#loading = loading;
    this.#prefix = prefix;
  }

  static of(gpu: Gpu, from: Checkpoint | TensorSource, options: LoadOptions): GpuWeights {
    const source = "tensors" in from ? fileTensors(gpu, from) : from;
    return new GpuWeights({ gpu, source, ...options, uploads: uploadsOf(gpu, source, options.onBytes, options.signal) }, "");
  }

  /**
   * Fills the matrices and vectors that `declare` asks for, of this device's and of those beside it. All storage is made in one error scope, so
   * that too little memory is found before anything is read.
   *
   * @throws EngineError out-of-memory, bad-weights where a tensor is missing or of another shape, or values do not fit the format
   */
  async load<T>(declare: (weights: GpuWeights) => T, beside: readonly GpuWeights[] = []): Promise<T> {
    const all = [this, ...beside].map((each) => each.#loading);
    const gpus = all.map(({ gpu }) => gpu);
    const declared = await scopedOn(gpus, "the weights", async () => {
      const declared = declare(this);
      for (const { uploads } of all) await uploads.prepare();
      return declared;
    });
    for (const { uploads } of all) await uploads.run();
    return declared;
  }

  at(name: string | number): GpuWeights {
    return new GpuWeights(this.#loading, `${this.#prefix}${name}.`);
  }

  has(name: string): boolean {
    return this.#loading.source.get(this.#prefix + name) !== undefined;
  }

  #stored(full: string, shape: readonly number[]): StoredTensor {
    const tensor = this.#loading.source.get(full);
    if (!tensor) throw badWeights(`tensor "${full}" is missing; config.json asks for it with shape [${shape}]`, MISMATCH);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw badWeights(`tensor "${full}" has shape [${tensor.shape}], needs [${shape}]`, MISMATCH);
    }
    return tensor;
  }

  #plain(name: string, shape: readonly number[]): { tensor: StoredTensor; dtype: PlainDtype; full: string; length: number } {
    const full = this.#prefix + name;
    const tensor = this.#stored(full, shape);
    const dtype = PLAIN[tensor.dtype];
    if (!dtype) {
      const problem = `tensor "${full}" has dtype ${tensor.dtype}, supported: ${Object.keys(PLAIN).join(", ")}`;
      throw badWeights(problem, MISMATCH);
    }
    return { tensor, dtype, full, length: elementsOf(shape) };
  }

  /** A matrix's tensor; a converted checkpoint has its scales beside it. */
  #matrix(name: string, shape: readonly number[]): Found {
    const full = this.#prefix + name;
    const dtype = this.has(name + SCALES_SUFFIX) ? CODES[this.#loading.source.get(full)?.dtype ?? ""] : undefined;
    const [out, inner] = shape;
    if (!dtype || shape.length !== 2) {
      const { tensor, dtype } = this.#plain(name, shape);
      return { dtype, held: tensor.held ?? dtype, full };
    }
    const scales = this.#stored(full + SCALES_SUFFIX, [out!, inner! / GROUP]);
    if (scales.dtype !== "F16") throw badWeights(`tensor "${full}${SCALES_SUFFIX}" has dtype ${scales.dtype}, needs F16`);
    this.#stored(full, [out!, dtype === "q8" ? inner! : inner! / 2]);
    return { dtype, held: dtype, full };
  }

  /** A tensor's values as f32, on the CPU, at once: for what is not part of a model on the GPU. */
  async read(name: string, shape: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    const { tensor, dtype, full } = this.#plain(name, shape);
    const { signal, onBytes } = this.#loading;
    const bytes = await tensor.read(signal);
    onBytes(bytes.byteLength);
    return widen(full, bytes, dtype);
  }

  values(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
    const { dtype, full, length } = this.#plain(name, shape);
    const values = new Float32Array(length);
    this.#loading.uploads.addValues(full, dtype, (at, some) => values.set(some, at));
    return values;
  }

  vectors(tensors: readonly (readonly [name: string, shape: readonly number[]])[]): Vector {
    const { gpu, uploads } = this.#loading;
    const parts = tensors.map(([name, shape]) => this.#plain(name, shape));
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const label = parts.map(({ full }) => full).join("+");
    const buffer = gpu.memory.createToFill(label, length * 4);
    let first = 0;
    for (const part of parts) {
      const start = first;
      uploads.addValues(part.full, part.dtype, (at, some) => gpu.memory.write(buffer, 4 * (start + at), some));
      first += part.length;
    }
    return { label, length, buffer };
  }

  /** The dtype on the GPU of a matrix whose tensors `auto` would hold as `held`; `fixed`: some come as codes. */
  #target(label: string, held: MatrixDtype, fixed: boolean, inner: number): MatrixDtype {
    const { format } = this.#loading;
    if (format === "auto" || format === held) return held;
    if (fixed) {
      const hint = `load it with weights: "auto", or take the checkpoint that it was converted from`;
      throw new EngineError("bad-input", `the checkpoint holds ${label} in ${held}, asked was ${format}`, { hint });
    }
    // Rows that are not whole groups (the patch embedding's 588 columns) stay as they are stored.
    return isQuantized(format) && inner % GROUP !== 0 ? held : format;
  }

  matrices(tensors: readonly MatrixRows[], inner: number): Matrix {
    const found = tensors.map(({ name, rows, shape = [rows, inner] }) => this.#matrix(name, shape));
    const label = found.map(({ full }) => full).join("+");
    const held = widest(label, found);
    const codes = found.filter(({ dtype }) => isQuantized(dtype));
    const dtype = this.#target(label, held, codes.length > 0, inner);
    const out = tensors.reduce((sum, { rows }) => sum + rows, 0);
    const filled = codes.length === found.length; // the quantiser sets halves of words: what it writes to has to be zero before
    const matrix: Matrix = { label, shape: [out, inner], dtype, parts: this.#createParts(label, out, inner, dtype, filled) };
    let base = 0;
    const placed: (RowsSource & { stored: MatrixDtype })[] = [];
    for (const [i, { rows, blocks = [{ from: 0, to: 0, rows }] }] of tensors.entries()) {
      const { full, dtype } = found[i]!;
      placed.push({ name: full, stored: dtype, base, blocks });
      base += rows;
    }
    const { uploads } = this.#loading;
    uploads.addMatrix(matrix, placed);
    const scales = placed.flatMap((source): RowsSource[] =>
      isQuantized(source.stored) ? [{ ...source, name: source.name + SCALES_SUFFIX }] : [],
    );
    if (scales.length > 0) uploads.addScales(matrix, scales);
    return matrix;
  }

  /** Storage for a matrix, split by rows so that each part fits a binding; `filled`: all scales come from files. */
  #createParts(label: string, out: number, inner: number, dtype: MatrixDtype, filled: boolean): MatrixPart[] {
    const { memory } = this.#loading.gpu;
    const rowBytes = inner * BYTES_PER_ELEMENT[dtype];
    const perPart = Math.floor(memory.maxBinding / rowBytes);
    if (perPart === 0)
      throw new EngineError("limit-exceeded", `a row of ${label} needs ${rowBytes} bytes, over this adapter's binding size`);
    const parts: MatrixPart[] = [];
    for (let rowStart = 0; rowStart < out; rowStart += perPart) {
      const rows = Math.min(perPart, out - rowStart);
      const part = { rowStart, rows, buffer: memory.createToFill(label, rows * rowBytes) };
      if (!isQuantized(dtype)) parts.push(part);
      else {
        const [name, bytes] = [`${label} scales`, (rows * inner * 2) / GROUP];
        parts.push({ ...part, scales: filled ? memory.createToFill(name, bytes) : memory.create(name, bytes) });
      }
    }
    return parts;
  }
}
