/** How far an op's output may lie from its float64 reference. */
export interface Bound {
  /** Σ(a − b)² / Σb². */
  nmse: number;
  /** Largest |a − b| over the largest |b|. */
  largest: number;
}

const EXACT: Bound = { nmse: 0, largest: 0 };

/**
 * One line an op; where a precision (ops/matmul-variants.ts) needs another bound, a line of its own below it, `op precision`.
 * Operands are compared as their bits stand: the rounding of a bf16, q8 or q4 weight is no error here, only the kernel's own arithmetic is.
 */
const BOUNDS: Readonly<Record<string, Bound>> = {
  matmul: { nmse: 1e-11, largest: 1e-5 },
  matvec: { nmse: 1e-11, largest: 1e-5 },
  // Operands rounded to f16: 2^-11 each; activations rounded to 8 bits a group.
  "matmul f16": { nmse: 1e-6, largest: 5e-3 },
  "matvec f16": { nmse: 1e-6, largest: 5e-3 },
  "matmul q8": { nmse: 2.5e-4, largest: 5e-2 },
  "matvec q8": { nmse: 2.5e-4, largest: 5e-2 },
};

/** The bound of an op that keeps a precision. @throws Error for an op without a line: a new op states its bound */
export function boundOf(op: string, precision?: string): Bound {
  const bound = BOUNDS[precision ? `${op} ${precision}` : op];
  if (!bound) throw new Error(`no bound is stated for ${op}`);
  return bound;
}

/** How far an output lies from its reference, in the two measures of a bound. */
export type Deviation = Bound;

/** NaN and Inf are infinitely far. @throws Error where the reference itself is not finite */
export function deviation(actual: ArrayLike<number>, expected: ArrayLike<number>): Deviation {
  let squares = 0;
  let size = 0;
  let largest = 0;
  let top = 0;
  for (let i = 0; i < expected.length; i++) {
    const b = expected[i]!;
    if (!Number.isFinite(b)) throw new Error(`the reference gives ${b} at element ${i}`);
    const difference = Math.abs(actual[i]! - b);
    if (!Number.isFinite(difference)) return { nmse: Number.POSITIVE_INFINITY, largest: Number.POSITIVE_INFINITY };
    squares += difference ** 2;
    size += b ** 2;
    largest = Math.max(largest, difference);
    top = Math.max(top, Math.abs(b));
  }
  if (squares === 0) return EXACT;
  return { nmse: size ? squares / size : Number.POSITIVE_INFINITY, largest: top ? largest / top : Number.POSITIVE_INFINITY };
}
