/** How far an op's output may lie from its float64 reference. Where few elements are compared, `deviation` says what stands for b². */
export interface Bound {
  /** Σ(a − b)² / Σb². */
  nmse: number;
  /** Largest |a − b| over the largest |b|. */
  largest: number;
}

/** Bits, and copies of them. */
export const EXACT: Bound = { nmse: 0, largest: 0 };
/** What NaN, infinities and outputs of another length are off by. */
export const INFINITELY_FAR: Bound = { nmse: Number.POSITIVE_INFINITY, largest: Number.POSITIVE_INFINITY };

/** f32 sums of products, each rounded to 6e-8: measured up to 6e-13 (K = 4864), and 2e-12 in attention. */
const SUMS: Bound = { nmse: 1e-11, largest: 1e-5 };
/** Operands rounded to f16, 2^-11 each. */
const F16: Bound = { nmse: 1e-6, largest: 5e-3 };
/** Activations rounded to 8 bits a group. */
const CODES: Bound = { nmse: 2.5e-4, largest: 5e-2 };
/** A product of two such results. */
const GATED_CODES: Bound = { nmse: 5e-4, largest: 1e-1 };
/** Statistics of a row, one exp or one division: measured up to 2e-14. */
const ROWS: Bound = { nmse: 2e-13, largest: 2e-6 };
/** One or two roundings of each element: measured up to 8e-15. */
const ROUNDED: Bound = { nmse: 1e-13, largest: 5e-7 };
/** Each element rounded to f16, 2^-11 of it at most. */
const HALVES: Bound = { nmse: 2.4e-7, largest: 4.9e-4 };
/** Scores near 1000 are good to 6e-5 in f32, and so is what exp makes of them: measured up to 4e-10. */
const LARGE_SCORES: Bound = { nmse: 5e-9, largest: 2e-4 };
/**
 * One product dominates each sum, and each of its operands is exact or rounded to f16 once: off by 2^-11 of it at most (f16 has 11 bits), as all of
 * HALVES. In 8-bit codes of x the dominant element is the scale's own, and the 31 that share it are lost: 31 / 9 of the sum's HUGE^2 / 3, 1e-8.
 */
const DOMINATED: Bound = { nmse: 2.5e-7, largest: 5e-4 };

/**
 * Of attention whose keys all have `size` in one column (of queries up to 1): scores of up to size / sqrt(D), each a sum of D products that
 * f32 rounds by up to 2^-24 of it, at random; a weight is off by as much as its score. Of the largest of some thousand elements, four times that.
 */
export const scoresOf = (size: number): Bound => ({ nmse: (2 ** -24 * size) ** 2, largest: 4 * 2 ** -24 * size });

/**
 * Which ops have which bound; where a precision (gpu/program.ts) or outliers need another one, as `op kind`.
 * The reference computes on the values that the operands' bits stand for: rounding a weight to bf16, q8 or q4 does not count as an error,
 * only the kernel's own arithmetic does.
 */
const OPS: readonly (readonly [Bound, ...string[]])[] = [
  [SUMS, "matmul", "attention_prefill", "attention_decode", "attention_vision", "patch_embedding", "lora"],
  [F16, "matmul auto", "attention_prefill auto", "attention_vision auto"],
  [CODES, "matmul fast"],
  [DOMINATED, "matmul auto huge", "matmul fast huge"],
  [GATED_CODES, "matmul fast swiglu"],
  [LARGE_SCORES, "attention_prefill outliers", "attention_decode outliers"],
  [ROWS, "layer_norm", "rms_norm", "qk_norm", "swiglu", "gelu", "rope norm", "kv_append norm", "probability"],
  [ROUNDED, "rope", "kv_append", "positions", "sample"], // sample: the penalised logits; its ids are exact
  [HALVES, "rope f16", "kv_append f16"],
  [EXACT, "embed", "patch_gather", "pixel_unshuffle", "argmax", "quantize", "convert", "awq", "dequantize", "synth"],
];
const BOUNDS = new Map(OPS.flatMap(([bound, ...ops]) => ops.map((op) => [op, bound])));

/** The bound of an op, at a precision or with outliers. @throws Error for an op that is not there: a new op states its bound */
export function boundOf(op: string, kind?: string): Bound {
  const bound = BOUNDS.get(`${op} ${kind}`) ?? BOUNDS.get(op);
  if (!bound) throw new Error(`no bound is stated for ${op}`);
  return bound;
}

/** How far an output lies from its reference, in the two measures of a bound. */
export type Deviation = Bound;

/**
 * Fewer elements than these are held against their energies too. One that is a sum of terms of either sign may come out near zero, while its
 * rounding error stays what the terms make it; of many elements few do so, and Σb² is about the sum of their energies. For normal b that
 * ratio is χ²/n. The narrowest bounds, F16 and CODES, are at least 12 times what rounding costs sums on average (measured), and that the
 * ratio falls below 1/12 has a probability of 0.2 for one element, 4e-4 for 8, 5e-7 for 16.
 */
const FEW = 16;

/**
 * How far `actual` lies from `expected`. NaN and Inf are infinitely far.
 *
 * @param energies of each element, the sum of the squares of its terms. Called where fewer than `FEW` are compared: their sum stands for Σb², and
 * the root of the largest for the largest |b|, where it is more
 * @throws Error where the reference itself is not finite, or an energy
 */
export function deviation(actual: ArrayLike<number>, expected: ArrayLike<number>, energies?: () => ArrayLike<number>): Deviation {
  let squares = 0;
  let size = 0;
  let largest = 0;
  let top = 0;
  for (let i = 0; i < expected.length; i++) {
    const b = expected[i]!;
    if (!Number.isFinite(b)) throw new Error(`the reference gives ${b} at element ${i}`);
    const difference = Math.abs(actual[i]! - b);
    if (!Number.isFinite(difference)) return INFINITELY_FAR;
    squares += difference ** 2;
    size += b ** 2;
    largest = Math.max(largest, difference);
    top = Math.max(top, Math.abs(b));
  }
  if (squares === 0) return EXACT;
  if (energies && expected.length < FEW) {
    const floors = Array.from(energies());
    const sum = floors.reduce((total, energy) => total + energy, 0);
    if (floors.length !== expected.length || !Number.isFinite(sum))
      throw new Error(`the energies of ${expected.length} elements: ${floors}`);
    size = Math.max(size, sum);
    top = Math.max(top, Math.sqrt(Math.max(...floors)));
  }
  return { nmse: size ? squares / size : Number.POSITIVE_INFINITY, largest: top ? largest / top : Number.POSITIVE_INFINITY };
}
