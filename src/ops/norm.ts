import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation, Vector } from "../tensor/tensor.ts";
import { f32Bits, need, needActivation, needVec4s, needVector } from "./check.ts";
import { choose, type NormVariant, type QkNormVariant } from "./choose.ts";

/** A norm's parameters: with a bias it is a LayerNorm, without one an RMSNorm. */
export interface NormWeights {
  weight: Vector;
  bias?: Vector | undefined;
  eps: number;
}

/** What can be asked of a norm beside its operands. */
export interface NormOptions {
  /** Only the step's last row, giving [1, width]. */
  last?: boolean;
  /** A variant by its name, instead of the one chosen for the adapter: for tests and benchmarks. */
  variant?: NormVariant | undefined;
}

/** LayerNorm or RMSNorm of every row of x [rows, width]; with `last` only of the step's last row, giving [1, width]. */
export function norm(program: Program, x: Activation, { weight, bias, eps }: NormWeights, options: NormOptions = {}): Activation {
  const op = `norm ${weight.label}`;
  const last = options.last ?? false;
  needVec4s(op, "width", x.width);
  needActivation(program, op, x);
  needVector(op, weight, x.width);
  if (bias) needVector(op, bias, x.width);
  if (last) need(x.rows.base === 0 && x.rows.unit === 1, op, `the last row of ${x.label}, which has not one row a unit`);
  const rows = last ? { base: 1, unit: 0 } : x.rows;
  const shape = { rows: program.maxRows(rows), width: x.width };
  const plan = choose(program.gpu, "norm", op, shape, options.variant).plan(program.gpu);
  const y = program.activation(`norm(${x.label})`, rows, x.width);
  program.dispatch({
    kernel: {
      ...plan.source,
      libs: ["lib/step", ...plan.libs],
      directives: plan.directives,
      consts: { LAYER: bias !== undefined, LAST: last, THREADS: plan.threads },
      bindings: "uurrrw",
    },
    params: [x.width / 4, f32Bits(eps), rows.base, rows.unit],
    buffers: [x.buffer, weight.buffer, bias?.buffer ?? weight.buffer, y.buffer],
    workgroups: (step) => [Math.ceil(rowsOf(rows, step) / plan.rows), 1, 1],
  });
  return y;
}

/** RMSNorm of the whole q and of the whole k of qkv [rows, 3 width], in place (InternViT-6B). */
export function qkNorm(
  program: Program,
  qkv: Activation,
  qNorm: Vector,
  kNorm: Vector,
  eps: number,
  options: { variant?: QkNormVariant | undefined } = {},
): void {
  const width = qkv.width / 3;
  const op = `qk norm ${qNorm.label}`;
  needVec4s(op, "width", width);
  needActivation(program, op, qkv);
  needVector(op, qNorm, width);
  needVector(op, kNorm, width);
  const { libs, directives, threads } = choose(program.gpu, "qkNorm", op, { width }, options.variant).plan(program.gpu);
  program.dispatch({
    kernel: { shader: "norm.qk", libs: ["lib/step", ...libs], directives, consts: { THREADS: threads }, bindings: "uurrw" },
    params: [width / 4, f32Bits(eps)],
    buffers: [qNorm.buffer, kNorm.buffer, qkv.buffer],
    workgroups: (step) => [rowsOf(qkv.rows, step), 2, 1],
  });
}
