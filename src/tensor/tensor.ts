/**
 * How a matrix's elements lie on the GPU, row by row.
 * - f32. bf16 and f16: two to a u32, the even element in the low half.
 * - q8: value = code · scale, codes in [-127, 127], four to a u32, element i in byte i mod 4.
 * - q4: value = (code - 8) · scale, codes in [0, 15], eight to a u32: element i < 4 in the low half of byte i, element i >= 4 in the
 *   high half of byte i - 4.
 * In both, groups of 32 elements along a row share one f16 scale, which may be negative; the scales [rows, K / 32] lie in storage of
 * their own, two to a u32, counted through the whole part.
 */
export type MatrixDtype = "f32" | "f16" | "bf16" | "q8" | "q4";

/** Bytes of an element without its share of the scales. */
export const BYTES_PER_ELEMENT: Readonly<Record<MatrixDtype, number>> = { f32: 4, f16: 2, bf16: 2, q8: 1, q4: 0.5 };

/** Elements of a row that share a scale in q8 and q4. */
export const GROUP = 32;

/** Elements along K that share a zero point and a scale in AWQ's packed matrices. */
export const AWQ_GROUP = 128;

/** Whether elements share scales, in groups of 32. */
export const isQuantized = (dtype: MatrixDtype): dtype is "q8" | "q4" => dtype === "q8" || dtype === "q4";

/** How many elements a shape has. */
export const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** What the scale of element `i` of a q8 or q4 matrix is multiplied with: its code, in q4 less 8. */
export const codeAt = (codes: Uint8Array, i: number, dtype: "q8" | "q4"): number =>
  dtype === "q8" ? (codes[i]! << 24) >> 24 : ((codes[4 * (i >> 3) + (i & 3)]! >> (i & 4)) & 15) - 8;

/** Storage that a kernel binds: a whole buffer, or a range of one (its offset a multiple of 256). */
export type Bindable = GPUBuffer | GPUBufferBinding;

/** The range that a bindable stands for. */
export const bindingOf = (storage: Bindable): GPUBufferBinding => ("buffer" in storage ? storage : { buffer: storage });

/** How many rows an activation has in a step: `base + unit * step.units`. Decoder: one unit a token; vision: 1025 rows a tile. */
export interface Rows {
  base: number;
  unit: number;
}

/** f32 [rows, width], row-major, from the start of its buffer. */
export interface Activation {
  label: string;
  rows: Rows;
  width: number;
  buffer: Bindable;
}

/** f32 [length]: norm weights, biases, layer scales. */
export interface Vector {
  label: string;
  length: number;
  buffer: Bindable;
}

/** Some consecutive rows of a matrix in a buffer of their own. */
export interface MatrixPart {
  buffer: Bindable;
  /** q8 and q4: the scales of these rows. */
  scales?: Bindable;
  rowStart: number;
  rows: number;
}

/** What goes into the binding of a part's scales: a binding cannot stay empty, and formats without scales do not read it. */
export const scalesOf = (part: MatrixPart): Bindable => part.scales ?? part.buffer;

/** A Linear's weight [out, in], row-major, split by rows over as many buffers as the adapter's binding size asks for. */
export interface Matrix {
  label: string;
  shape: readonly [out: number, inner: number];
  dtype: MatrixDtype;
  parts: readonly MatrixPart[];
}

/** bf16 bits → f32, exactly: bf16 is the upper half of an f32. */
export function widenBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

/** One IEEE half (as bits) → number, exactly. */
export function widenHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** f16 bits → f32, exactly. */
export function widenF16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(bits, widenHalf);
}
