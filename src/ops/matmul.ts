import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Dispatch, type Precision, type Program, rowsOf } from "../gpu/program.ts";
import { type Activation, type Bindable, GROUP, type Matrix, scalesOf, type Vector } from "../tensor/tensor.ts";
import { putSplitsTogether } from "./attention-decode.ts";
import type { Splits } from "./attention-kernels.ts";
import { f32Bits, need, needActivation, needMatrix, needVector } from "./check.ts";
import { choose, type MatmulVariant, precisionOf, timedRows, triesOf } from "./choose.ts";
import type { MatmulPlan } from "./matmul-kernels.ts";
import { recordTiles } from "./matmul-tiles.ts";
import { fastestVariant } from "./matmul-tune.ts";
import type { Shape } from "./needs.ts";
import { type NormWeights, norm } from "./norm.ts";
import { swiglu } from "./rowwise.ts";

/** What is fused with a product, and how it may be computed. */
export interface MatmulOptions {
  /** RMSNorm of the rows of x first: in front of the same product where the variant can (few rows), else in a dispatch of its own. */
  norm?: NormWeights | undefined;
  /** What x is before its splits are put together (`Attended`): in front of the product where the variant can (one row), else in a dispatch of its own. */
  splits?: Splits | undefined;
  bias?: Vector | undefined;
  /** GELU with erf, after the bias. */
  gelu?: boolean;
  /** Column-wise factor (layer scale), after the activation. */
  scale?: Vector | undefined;
  /** Adds the result to this activation instead of making a new one. */
  into?: Activation | undefined;
  /** Writes the result to this activation. */
  out?: Activation | undefined;
  /** Whether x is of moderate size: a precision other than exact may round it to f16. Behind a norm it is by itself. */
  bounded?: boolean | undefined;
  /** Besides, what greedy sampling wants to know of the result, where the variant can tell: for a product without an epilogue. */
  maxima?: boolean;
  /** What the product may do to its operands; by default what the program may. */
  precision?: Precision | undefined;
  /** A variant by its name, instead of the one chosen for the adapter and the shape: for tests and benchmarks. */
  variant?: MatmulVariant | undefined;
  /** Which of a GEMM's tiles (at most the last), instead of the one that fits a step, and how many parts of K: for tests. */
  tiling?: { tile: number; splits: number } | undefined;
}

/** The largest values of blocks of columns, with the first column that has them: (f32, u32) [rows, blocks]. */
export interface Maxima {
  buffer: Bindable;
  blocks: number;
}

/** A product, and its maxima where they were asked for and the variant has them. */
export interface Product extends Activation {
  maxima?: Maxima;
}

const MAX_GROUPS = 65535; // workgroups in a dimension that every device takes

/** Classes of row counts: a variant that was tuned for one shape is used for all shapes of its class. */
const ROWS_CLASSES = [
  [1, "1"],
  [2, "2"],
  [4, "3-4"],
  [8, "5-8"],
  [64, "9-64"],
  [Number.POSITIVE_INFINITY, "65-"],
] as const;
const rowsClass = (rows: number): string => ROWS_CLASSES.find(([most]) => rows <= most)![1];

/** What choosing looks at. */
type ProductShape = Required<Pick<Shape, "precision" | "bounded">> & { rows: number; width: number; dtype: Matrix["dtype"] };

const shapeOf = (w: Pick<Matrix, "shape" | "dtype">, rows: number, precision: Precision, bounded: boolean): ProductShape => ({
  rows,
  dtype: w.dtype,
  width: w.shape[1],
  precision,
  bounded,
});

/** The shape class of a product, as it stands in `gpu.tuning`: sizes by their power of two. */
export const matmulClass = (n: number, { rows, dtype, width, precision, bounded }: ProductShape): string =>
  `matmul(m=${rowsClass(rows)},n~2^${Math.round(Math.log2(n))},k~2^${Math.round(Math.log2(width))},weights=${dtype},precision=${precision}${precision !== "exact" && bounded ? ",bounded" : ""})`;

/** The variant that the engine takes by itself for `rows` rows: the one that was measured, else the first of the adapter's table; and by which of the two. */
export function chosenVariant(
  gpu: Gpu,
  w: Pick<Matrix, "shape" | "dtype">,
  rows: number,
  precision: Precision = "exact",
  bounded = false,
): { variant: MatmulVariant; why: string } {
  const shape = shapeOf(w, rows, precision, bounded);
  const tries = triesOf(gpu, "matmul", shape);
  const known = gpu.tuning.known(matmulClass(w.shape[0], shape));
  const measured = tries.find((variant) => variant === known); // a shape of the class may not have what another had
  const others = tries.length > 1 ? `of ${tries.join(", ")}` : "the only one that runs here";
  return { variant: measured ?? tries[0]!, why: `${measured ? "measured" : "by the table"}, ${others}` };
}

function variantFor(program: Program, x: Activation, w: Matrix, rows: number, precision: Precision, bounded: boolean): MatmulVariant {
  const { gpu } = program;
  const shape = shapeOf(w, rows, precision, bounded);
  const timed = timedRows(gpu, rows);
  gpu.tuning.want(matmulClass(w.shape[0], shape), () =>
    fastestVariant(gpu, triesOf(gpu, "matmul", shape), timed, 2 * timed * w.shape[0] * w.shape[1], (trial, variant) => {
      matmul(trial, trial.activation(x.label, { base: 0, unit: 1 }, x.width), w, { variant, precision, bounded });
    }),
  );
  const { variant, why } = chosenVariant(gpu, w, rows, precision, bounded);
  program.choices.push({ program: program.label, product: w.label, shape: w.shape, dtype: w.dtype, rows, variant, why });
  return variant;
}

/**
 * y[rows, N] = x[rows, K] · wᵀ for a Linear's weight w [N, K], with bias, GELU, layer scale and residual in the epilogue.
 *
 * @throws EngineError bad-input where shapes do not fit, K is not a multiple of 4 (q8, q4: of 32), or the device lacks the variant;
 *   limit-exceeded where the product needs more than 65535 workgroups in a dimension
 */
export function matmul(program: Program, x: Activation, w: Matrix, options: MatmulOptions = {}): Product {
  return record(program, x, w, options, false);
}

/**
 * y[rows, N / 2] = silu(x · gateᵀ) · (x · upᵀ) for w = gate | up, stacked: [N, K]. One kernel where w lies in one buffer.
 *
 * @throws EngineError as matmul
 */
export function gatedMatmul(
  program: Program,
  x: Activation,
  w: Matrix,
  options: Pick<MatmulOptions, "norm" | "bounded" | "precision" | "variant" | "tiling"> = {},
): Activation {
  need(w.shape[0] % 2 === 0, `matmul ${w.label}`, `N is ${w.shape[0]}, gate and up need an even number`);
  // Where w is split, a gate's row and its up row may lie in different buffers.
  if (w.parts.length === 1) return record(program, x, w, options, true);
  return swiglu(program, record(program, x, w, options, false));
}

function checkOperands(program: Program, op: string, x: Activation, w: Matrix, { bias, scale, into, out }: MatmulOptions): void {
  const [n, k] = w.shape;
  needMatrix(op, w);
  needActivation(program, op, x, k);
  if (bias) needVector(op, bias, n);
  if (scale) needVector(op, scale, n);
  need(!(into && out), op, "into and out exclude each other");
}

function record(program: Program, x: Activation, w: Matrix, options: MatmulOptions, gated: boolean): Product {
  const op = `matmul ${w.label}`;
  const [n, k] = w.shape;
  checkOperands(program, op, x, w, options);
  const maxRows = program.maxRows(x.rows);
  const { norm: gain, precision = program.precision, bounded = gain !== undefined } = options;
  const variant = options.variant ?? variantFor(program, x, w, maxRows, precision, bounded);
  // A variant by its name may lose what it loses.
  const wanted = options.variant && precisionOf(variant) === "fast" ? "fast" : precision;
  const shape = shapeOf(w, maxRows, wanted, bounded);
  const plan: MatmulPlan = choose(program.gpu, "matmul", op, shape, variant).plan(program.gpu, { ...shape, k });
  if (gain && !plan.prologue) {
    return record(program, norm(program, x, gain), w, { ...options, norm: undefined, variant: options.variant, bounded }, gated);
  }
  if (gain) {
    need(!gain.bias, op, "the norm in front has a bias, it must be an RMSNorm");
    needVector(op, gain.weight, k);
  }
  const splits = options.splits && plan.splits && fitsSplits(program.gpu, options.splits, k) ? options.splits : undefined;
  if (options.splits) putSplitsTogether(program, options.splits, x, splits?.few);
  const width = gated ? n / 2 : n;
  const y = options.into ?? options.out ?? program.activation(`${w.label}(${x.label})`, x.rows, width);
  needActivation(program, op, y, width);
  need(program.maxRows(y.rows) >= maxRows, op, `${y.label} has fewer rows than ${x.label}`);
  needGrid(op, w, maxRows, plan);
  return dispatchProduct(program, x, w, y, plan, { ...options, splits }, gated);
}

/** Records the dispatches of a product y = x · wᵀ whose kernel is chosen: one for each part of w. */
function dispatchProduct(
  program: Program,
  x: Activation,
  w: Matrix,
  y: Activation,
  plan: MatmulPlan,
  options: MatmulOptions,
  gated: boolean,
): Product {
  const [n, k] = w.shape;
  const { norm: gain, splits, bias, gelu = false, scale, into } = options;
  const switches = bits([bias !== undefined, gelu, scale !== undefined, into !== undefined, gated]);
  const blocks = options.maxima && plan.maxima && switches === 0 && w.parts.length === 1 ? Math.ceil(n / plan.columns) : 0;
  const maxima = blocks > 0 ? { buffer: program.arena.take(program.maxRows(x.rows) * blocks * 8), blocks } : undefined;
  const ahead = gain?.weight.buffer ?? splits?.parts;
  const more = ahead || maxima ? [ahead ?? x.buffer] : []; // binding 8
  const codes = plan.codes ? quantizeRows(program, x) : undefined;
  const kernel = kernelOf(plan, w, gain, splits, maxima !== undefined);
  /** Columns column .. column + n of y, from x and w as the kernel wants them. */
  const product = (xs: Bindable, [ws, scales]: readonly [Bindable, Bindable], n: number, column: number) => {
    const sizes = [x.rows.base, x.rows.unit, k / 4, n, column, y.width];
    const params = [...sizes, switches, f32Bits(gain?.eps ?? 0), plan.rounds ?? splits?.splits ?? 0];
    // Switched-off operands get some read-only buffer: a binding cannot stay empty.
    const buffers = [xs, ws, scales, bias?.buffer ?? x.buffer, scale?.buffer ?? x.buffer, y.buffer];
    if (!plan.tiles) {
      program.dispatch({
        kernel: { ...kernel, bindings: `uurrrrrw${more.length ? "r" : ""}${maxima ? "w" : ""}` },
        params,
        buffers: [...buffers, ...more, ...(maxima ? [maxima.buffer] : [])],
        workgroups: grid(plan, n, x),
      });
      return;
    }
    recordTiles(program, {
      ...{ kernel, params, buffers, rows: x.rows, shape: { n, k, gated }, tiles: plan.tiles },
      last: codes ? [codes.scales] : [],
      tiling: options.tiling && { tile: plan.tiles[options.tiling.tile] ?? plan.tiles.at(-1)!, splits: options.tiling.splits },
    });
  };
  if (plan.before) {
    plan.before(program, x, w, gated, (products, n, column) => product(products, [x.buffer, x.buffer], n, column));
    return y;
  }
  for (const part of w.parts) product(codes?.codes ?? x.buffer, [part.buffer, scalesOf(part)], part.rows, part.rowStart);
  return maxima ? { ...y, maxima } : y;
}

/** The kernel of a plan with its libraries: what reads w, what comes before the product, and whether maxima are kept. */
function kernelOf(plan: MatmulPlan, w: Matrix, gain: NormWeights | undefined, splits: Splits | undefined, maxima: boolean) {
  const reader = plan.before ? [] : [plan.reader ?? (`lib/weight.${w.dtype}` as const)];
  const prologue = plan.prologue ? prologueOf(gain, splits) : [];
  const keep = plan.maxima ? ([maxima ? "lib/maxima.keep" : "lib/maxima.none"] as const) : [];
  return {
    ...plan.source,
    libs: ["lib/step", ...reader, "lib/gelu", "lib/matmul", ...prologue, ...keep, ...plan.libs] as const,
    directives: plan.directives,
    consts: { ...plan.consts, ...(splits && splitSizes(splits, w.shape[1])) },
  };
}

/** @throws EngineError limit-exceeded */
function needGrid(op: string, { shape: [n, k], parts }: Matrix, rows: number, plan: MatmulPlan): void {
  const widest = Math.max(...parts.map((part) => Math.ceil(part.rows / plan.columns)), plan.codes ? rows : Math.ceil(rows / plan.rows));
  if (widest <= MAX_GROUPS) return;
  const problem = `[${rows}, ${k}] · [${n}, ${k}]ᵀ needs ${widest} workgroups in a dimension, ${MAX_GROUPS} are allowed`;
  throw new EngineError("limit-exceeded", `${op}: ${problem}`, { hint: "split the rows over several steps" });
}

const prologueOf = (gain: NormWeights | undefined, splits: Splits | undefined) =>
  gain ? (["lib/prologue.norm"] as const) : splits ? (["lib/splits", "lib/prologue.splits"] as const) : (["lib/prologue.none"] as const);

/** The sizes that lib/prologue.splits needs. */
const splitSizes = ({ headDim, splitKeys, few }: Splits, k: number) =>
  ({ K: k, HEAD: headDim / 4, SPLIT_KEYS: splitKeys, FEW: few }) as const;

/** Whether a device has room for that, and the 2 KiB that a kernel may need besides. */
const fitsSplits = ({ device }: Gpu, { heads, few }: Splits, k: number): boolean =>
  4 * (k + heads * few) + 2048 <= device.limits.maxComputeWorkgroupStorageSize;

/** Flags as bits, the first the lowest. */
const bits = (flags: readonly boolean[]): number => flags.reduce((sum, flag, i) => sum + (flag ? 2 ** i : 0), 0);

const grid =
  (plan: MatmulPlan, columns: number, x: Activation): Dispatch["workgroups"] =>
  (step) => [Math.ceil(columns / plan.columns), Math.ceil(rowsOf(x.rows, step) / plan.rows), 1];

/** x in 8 bits: codes [rows, K / 4] and the scales [rows, K / 32] of its groups. */
function quantizeRows(program: Program, x: Activation): { codes: Bindable; scales: Bindable } {
  const groups = x.width / GROUP;
  const codes = program.activation(`codes(${x.label})`, x.rows, x.width / 4);
  const scales = program.activation(`scales(${x.label})`, x.rows, groups);
  program.dispatch({
    kernel: { shader: "matmul.quantize", libs: ["lib/step"], consts: {}, bindings: "uurww" },
    params: [groups],
    buffers: [x.buffer, codes.buffer, scales.buffer],
    workgroups: (step) => [Math.ceil(groups / 64), rowsOf(x.rows, step), 1],
  });
  return { codes: codes.buffer, scales: scales.buffer };
}
