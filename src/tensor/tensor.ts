/** How a matrix's elements lie on the GPU. bf16 and f16: two to a u32, the even element in the low half. */
export type MatrixDtype = "f32" | "f16" | "bf16";

export const BYTES_PER_ELEMENT: Readonly<Record<MatrixDtype, number>> = { f32: 4, f16: 2, bf16: 2 };

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
  buffer: GPUBuffer;
}

/** f32 [length]: norm weights, biases, layer scales. */
export interface Vector {
  label: string;
  length: number;
  buffer: GPUBuffer;
}

/** Some consecutive rows of a matrix in a buffer of their own. */
export interface MatrixPart {
  buffer: GPUBuffer;
  rowStart: number;
  rows: number;
}

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
