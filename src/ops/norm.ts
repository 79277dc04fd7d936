import type { Gpu } from "../gpu/device.ts";
import type { KernelSpec } from "../gpu/kernel.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation, Vector } from "../tensor/tensor.ts";
import { f32Bits, need, needActivation, needQuads, needVector } from "./check.ts";
import { subgroupSize } from "./subgroups.ts";

/** A norm's parameters: with a bias it is a LayerNorm, without one an RMSNorm. */
export interface NormWeights {
  weight: Vector;
  bias?: Vector | undefined;
  eps: number;
}

/**
 * How a row's sums are made.
 * - row: 64 threads a row, a tree in workgroup memory. Everywhere.
 * - subgroups: 128 threads a row, two barriers a sum.
 * - subgroup: one subgroup a row, no barrier.
 * - thread: a thread a row, no barrier. Everywhere.
 */
export const NORM_VARIANTS = ["row", "subgroups", "subgroup", "thread"] as const;
export type NormVariant = (typeof NORM_VARIANTS)[number];

export interface NormOptions {
  /** Only the step's last row, giving [1, width]. */
  last?: boolean;
  /** A variant by its name, instead of the one chosen for the adapter: for tests and benchmarks. */
  variant?: NormVariant | undefined;
}

/** Every variant that runs on this device. */
export const normVariants = (gpu: Gpu): NormVariant[] =>
  NORM_VARIANTS.filter((variant) => {
    if (variant === "subgroups") return gpu.device.features.has("subgroups");
    return variant !== "subgroup" || subgroupSize(gpu) !== undefined;
  });

/**
 * The best first, by what is known of the adapters. On CPU adapters a barrier costs more than all the arithmetic between two of them;
 * measured on lavapipe and SwiftShader, many rows go fastest a thread each, until rows are so long that eight of them crowd the cache.
 */
function ranked(gpu: Gpu, maxRows: number, width: number): readonly NormVariant[] {
  if (!gpu.software) return ["subgroups", "row"];
  return maxRows >= 8 && width <= 1024 ? ["thread"] : ["subgroup", "thread"];
}

/** The variant that the engine takes by itself. */
export const chosenNorm = (gpu: Gpu, maxRows: number, width: number): NormVariant =>
  ranked(gpu, maxRows, width).find((variant) => normVariants(gpu).includes(variant)) ?? "row";

type RowVariant = Exclude<NormVariant, "thread">;

/** What norm.row and norm.qk need to add up a row with the threads of a workgroup. */
function rowTotal(gpu: Gpu, variant: RowVariant): Pick<KernelSpec, "libs" | "directives"> & { threads: number } {
  switch (variant) {
    case "row":
      return { libs: ["lib/step", "lib/total.barrier"], threads: 64 };
    case "subgroups":
      return { libs: ["lib/step", "lib/total.subgroups"], directives: ["enable subgroups;"], threads: 128 };
    case "subgroup":
      return { libs: ["lib/step", "lib/total.subgroup"], directives: ["enable subgroups;"], threads: subgroupSize(gpu)! };
    default:
      return variant satisfies never;
  }
}

/** The variant that is asked for, or the first of `order`. @throws EngineError bad-input for one that the device lacks */
function choose<V extends NormVariant>(gpu: Gpu, op: string, order: readonly V[], wanted: V | undefined): V {
  const has: readonly string[] = normVariants(gpu);
  need(!wanted || has.includes(wanted), op, `variant ${wanted} does not run on this adapter; it has ${has.join(", ")}`);
  return wanted ?? order.find((variant) => has.includes(variant))!;
}

/** LayerNorm or RMSNorm of every row of x [rows, width]; with `last` only of the step's last row, giving [1, width]. */
export function norm(program: Program, x: Activation, { weight, bias, eps }: NormWeights, options: NormOptions = {}): Activation {
  const op = `norm ${weight.label}`;
  const last = options.last ?? false;
  needQuads(op, "width", x.width);
  needActivation(program, op, x);
  needVector(op, weight, x.width);
  if (bias) needVector(op, bias, x.width);
  if (last) need(x.rows.base === 0 && x.rows.unit === 1, op, `the last row of ${x.label}, which has not one row a unit`);
  const rows = last ? { base: 1, unit: 0 } : x.rows;
  const variant = choose(program.gpu, op, ranked(program.gpu, program.maxRows(rows), x.width), options.variant);
  const y = program.activation(`norm(${x.label})`, rows, x.width);
  const consts = { LAYER: bias !== undefined, LAST: last };
  const params = [x.width / 4, f32Bits(eps)];
  const buffers = [x.buffer, weight.buffer, bias?.buffer ?? weight.buffer, y.buffer];
  const bindings = "uurrrw";
  if (variant === "thread") {
    program.dispatch({
      kernel: { shader: "norm.thread", libs: ["lib/step"], consts, bindings },
      params: [...params, rows.base, rows.unit],
      buffers,
      workgroups: (step) => [Math.ceil(rowsOf(rows, step) / 8), 1, 1],
    });
  } else {
    const { threads, ...total } = rowTotal(program.gpu, variant);
    program.dispatch({
      kernel: { shader: "norm.row", ...total, consts: { ...consts, THREADS: threads }, bindings },
      params,
      buffers,
      workgroups: (step) => [rowsOf(rows, step), 1, 1],
    });
  }
  return y;
}

/** RMSNorm of the whole q and of the whole k of qkv [rows, 3 width], in place (InternViT-6B). */
export function qkNorm(
  program: Program,
  qkv: Activation,
  qNorm: Vector,
  kNorm: Vector,
  eps: number,
  options: { variant?: RowVariant | undefined } = {},
): void {
  const width = qkv.width / 3;
  const op = `qk norm ${qNorm.label}`;
  needQuads(op, "width", width);
  needActivation(program, op, qkv);
  needVector(op, qNorm, width);
  needVector(op, kNorm, width);
  const order: readonly RowVariant[] = program.gpu.software ? ["subgroup", "row"] : ["subgroups", "row"];
  const { threads, ...total } = rowTotal(program.gpu, choose(program.gpu, op, order, options.variant));
  program.dispatch({
    kernel: { shader: "norm.qk", ...total, consts: { THREADS: threads }, bindings: "uurrw" },
    params: [width / 4, f32Bits(eps)],
    buffers: [qNorm.buffer, kNorm.buffer, qkv.buffer],
    workgroups: (step) => [rowsOf(qkv.rows, step), 2, 1],
  });
}
