import type { Gpu } from "../gpu/device.ts";
import type { Program, Step } from "../gpu/program.ts";
import { type VARIANTS, variantsOf } from "../ops/choose.ts";
import type { Shape } from "../ops/needs.ts";
import type { Activation, Bindable, Matrix, MatrixDtype, Rows, Vector } from "../tensor/tensor.ts";
import type { Bound } from "./bounds.ts";
import type { Encoded } from "./encode.ts";
import type { Random } from "./random.ts";

/** What a case is made of; its name shows them in this order. */
export type CaseParams = Readonly<Record<string, string | number | boolean | undefined>>;

/** Makes a case's operands: each between guards, in a buffer of its own, and checked afterwards not to have changed. */
export interface Operands {
  /** Follows from the seed and the case's name. */
  readonly random: Random;
  /** Values for the step's rows [rows, width]; what the buffer has room for beyond them is poison. */
  activation(label: string, rows: Rows, width: number, values: Float32Array<ArrayBuffer>): Activation;
  /** A vector of given values. */
  vector(label: string, values: Float32Array<ArrayBuffer>): Vector;
  /**
   * A random matrix [out, inner] in [-1, 1], and what its bits stand for. `parts`: how many bindings it is split over, at least. `small`: a third
   * of it is below 2^-14.
   */
  matrix(label: string, out: number, inner: number, dtype: MatrixDtype, parts?: number, small?: boolean): { matrix: Matrix } & Encoded;
  /** Storage with given content; `words` of it where that is more than the content has, the rest poison. */
  storage(label: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>, words?: number): Bindable;
}

type Floats = Float32Array<ArrayBuffer>;

/** What an op computes and on which numbers. Everything is f32 but the weights of matmul. */
export type PeerSpec =
  /** x [m, k] · wᵀ, w [n, k] */
  | { op: "matmul"; m: number; n: number; k: number; x: Floats; weights: MatrixDtype; w: Encoded }
  /** Every token of a tile sees every token; qkv [tokens, 3 heads headDim] */
  | { op: "attention"; tokens: number; heads: number; headDim: number; qkv: Floats }
  /** The last `tokens` of `context` positions; q [tokens, heads headDim], keys and values [kvHeads, context, headDim] */
  | {
      op: "causal";
      tokens: number;
      context: number;
      heads: number;
      kvHeads: number;
      headDim: number;
      q: Floats;
      keys: Floats;
      values: Floats;
    }
  /** x [rows, weight.length]; with a bias LayerNorm, without RMSNorm */
  | { op: "norm"; rows: number; eps: number; x: Floats; weight: Floats; bias: Floats | undefined };

/** What a buffer must hold after the run. */
export interface Expectation {
  label: string;
  /** From `program.activation`, or an operand that the op writes to. */
  buffer: Bindable;
  /** u32 must be equal, whatever the op's bound; f16 are two to a word. */
  kind: "f32" | "f16" | "u32";
  /** Elements from the start of the buffer that the op writes; those behind must stay as they were. */
  length: number;
  /** Which of them are compared; all where absent. */
  indices?: Uint32Array;
  /** Their values, from a float64 reference. Called after the run. */
  expected: () => ArrayLike<number>;
  /** What an element is measured in, by its place in the buffer: where some are larger by design, the others would not count. 1 where absent. */
  unit?: (index: number) => number;
  /** The same for another library, where a benchmark lets it take turns. */
  peer?: PeerSpec;
  /** For elements that are sums of terms of either sign: Σ of the squares of each one's terms (see `deviation`). Called after the run. */
  energies?: () => ArrayLike<number>;
}

/** One test of one kernel: operands, what is recorded, and what must come out. */
export interface KernelCase {
  op: string;
  params: CaseParams;
  /** `op(key=value,flag,…)`: names the case, and any part of it is a filter. */
  name: string;
  step: Step;
  /** Units that the program is recorded for; more than `step.units` leaves room that must stay untouched. Default: `step.units`. */
  maxUnits?: number;
  /** "full": takes seconds on a CPU adapter; `kernels test` runs it, the ordinary test run leaves it out. */
  size?: "full";
  /** How far the output may be off. Default: the op's line of the table. */
  bound?: Bound;
  /** Why a device cannot run it, if it cannot: a feature that it lacks. */
  unsupported?(gpu: Gpu): string | undefined;
  /** Makes operands, records the op and says what must come out. */
  record(program: Program, operands: Operands): Expectation[];
}

/** Why a device cannot run a variant of an op for a shape, if it cannot. */
export const lacks = <O extends keyof typeof VARIANTS>(
  gpu: Gpu,
  op: O,
  variant: (typeof VARIANTS)[O][number] | undefined,
  shape?: Shape,
) => (variant && !variantsOf(gpu, op, shape).includes(variant) ? `this adapter does not run the variant ${variant}` : undefined);

/** Flags that are true stand alone, false and absent ones are left out. */
function caseName(op: string, params: CaseParams): string {
  const parts = Object.entries(params).flatMap(([key, value]) =>
    value === true ? [key] : value === false || value === undefined ? [] : [`${key}=${value}`],
  );
  return `${op}(${parts.join(",")})`;
}

/**
 * Puts a case together; its name follows from its parameters. A kernel of your own is tested with the same guards, poison and measures as ours.
 *
 * @example
 * ```ts
 * const gpu = await openGpu();
 * const mine = defineKernelCase("double", { n: 100 }, {
 *   step: { units: 100, start: 0 },
 *   bound: { nmse: 0, largest: 0 },
 *   record(program, { random, activation }) {
 *     const xs = random.values(100);
 *     const x = activation("x", { base: 0, unit: 1 }, 1, xs); // one value a unit
 *     const y = program.activation("y", x.rows, 1);
 *     const kernel = { shader: "double", code: WGSL, consts: {}, bindings: "uurw" }; // step, params, x, y
 *     program.dispatch({ kernel, params: [100], buffers: [x.buffer, y.buffer], workgroups: () => [2, 1, 1] });
 *     return [{ label: "y", buffer: y.buffer, kind: "f32", length: 100, expected: () => xs.map((v) => 2 * v) }];
 *   },
 * });
 * console.log((await runKernelCase(gpu, mine)).status); // passed
 * ```
 */
export function defineCase(op: string, params: CaseParams, rest: Omit<KernelCase, "op" | "params" | "name">): KernelCase {
  return { op, params, name: caseName(op, params), ...rest };
}

/**
 * A step of rows that are sequences of their own, from the position of each slot's: those without one have no row. Where there are such, the
 * rows stand in another order than their slots.
 */
export function stepOf(positions: readonly (number | undefined)[]) {
  const busy = [...positions.keys()].filter((slot) => positions[slot] !== undefined);
  const slots = busy.length < positions.length ? busy.reverse() : busy;
  const own = slots.map((slot) => positions[slot]!);
  return { units: slots.length, start: Math.max(...own), positions: own, slots };
}

/** Expects a whole output of `length` elements. */
export const wholeOf = (
  label: string,
  buffer: Bindable,
  length: number,
  expected: () => ArrayLike<number>,
  kind: Expectation["kind"] = "f32",
): Expectation => ({ label, buffer, kind, length, expected });
