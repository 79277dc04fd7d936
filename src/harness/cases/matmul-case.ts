import type { Precision, Program } from "../../gpu/program.ts";
import { type MatmulVariant, precisionOf } from "../../ops/choose.ts";
import { gatedMatmul, type MatmulOptions, matmul } from "../../ops/matmul.ts";
import * as reference from "../../reference/matmul.ts";
import { norm as normReference } from "../../reference/norm.ts";
import type { MatrixDtype, Rows } from "../../tensor/tensor.ts";
import { type Bound, boundOf } from "../bounds.ts";
import { defineCase, type Expectation, type KernelCase, lacks, type Operands, wholeOf } from "../case.ts";
import { indicesOf, sampleOf } from "../picks.ts";

/** Epilogues, by the flags in a case's name. */
export interface Fused {
  /** RMSNorm of the rows first. */
  norm?: boolean;
  bias?: boolean;
  gelu?: boolean;
  scale?: boolean;
  residual?: boolean;
  /** Gate and up in one product: nothing else goes with it. */
  swiglu?: boolean;
}

/** A case of a product, y[m, n] = x[m, k] · w[n, k]ᵀ, with what is fused with it. */
export interface Spec extends Fused {
  m: number;
  n: number;
  k: number;
  weights: MatrixDtype;
  variant: MatmulVariant | undefined;
  /** By default what the variant loses. */
  precision?: Precision;
  bounded?: boolean;
  /** Which of the variant's tiles, and into how many parts K is split; by default what fits. */
  tiling?: { tile: number; splits: number };
  /** Rows of x that are there in every step, apart from those per unit. */
  base?: number;
  /** Units that the rest of the rows is made of. */
  units?: number;
  /** More units that the program is recorded for. */
  spare?: number;
  parts?: number;
  outliers?: boolean;
  /** x is up to ±30,000 in one column of 1,000. */
  huge?: boolean;
  /** A third of the weights are below 2^-14: subnormal in f16. */
  small?: boolean;
  size?: "full" | undefined;
}

const EPS = 1e-6;

/** RMSNorm of every row, in float64. */
function normed(xs: Float32Array, gain: Float32Array, k: number): Float64Array {
  const out = new Float64Array(xs.length);
  for (let at = 0; at < xs.length; at += k) out.set(normReference(xs.subarray(at, at + k), gain, undefined, EPS), at);
  return out;
}

/** The bound of a product that may lose what `precision` does. */
function productBound({ huge, swiglu }: Spec, precision: Precision): Bound {
  if (huge && precision !== "exact") return boundOf("matmul", `${precision} huge`);
  return boundOf("matmul", precision === "fast" && swiglu ? "fast swiglu" : precision);
}

/** A case of a product; one of few rows is called `matvec`. */
export function matmulCase(spec: Spec): KernelCase {
  const { m, n, k, weights, base = 0, units = m - base, spare = 0, parts = 1, variant, size, bounded } = spec;
  const unit = (m - base) / units;
  const { norm, bias, gelu, scale, residual, swiglu, outliers, huge, small, tiling } = spec;
  const precision = spec.precision ?? (variant && precisionOf(variant)) ?? "exact";
  const op = m === 1 ? "matvec" : "matmul";
  const params = {
    ...{ m, n, k, weights, act: "f32", norm, bias, gelu, scale, residual, swiglu },
    ...(base || unit !== 1 ? { base, unit } : {}),
    ...{ spare: spare || undefined, parts: parts > 1 ? parts : undefined, outliers, huge, small },
    ...{ precision: spec.precision, bounded, ...tiling, variant },
  };
  return defineCase(op, params, {
    bound: productBound(spec, precision),
    step: { units, start: 0 },
    maxUnits: units + spare,
    ...(size && { size }),
    unsupported: (gpu) => lacks(gpu, "matmul", variant, { dtype: weights, rows: m, width: k, precision, bounded }),
    record: (program, operands) => recordProduct(program, operands, spec, { base, unit }, { precision, bounded, variant, tiling }),
  });
}

/** Records the product of x [m, k] with w [n, k] and its epilogue; what must come out, of some elements. */
function recordProduct(
  program: Program,
  operands: Operands,
  { m, n, k, weights, parts, norm, bias, gelu, scale, residual, swiglu, outliers, huge, small }: Spec,
  rows: Rows,
  how: Pick<MatmulOptions, "precision" | "bounded" | "variant" | "tiling">,
): Expectation[] {
  const { random, vector, activation } = operands;
  const xs = huge ? random.withHuge(m * k, k) : outliers ? random.withOutliers(m * k, k) : random.values(m * k);
  const x = activation("x", rows, k, xs);
  const w = operands.matrix("w", n, k, weights, parts, small);
  const drawn = (wanted: boolean | undefined, count: number) => (wanted ? random.values(count) : undefined);
  const epilogue = { bias: drawn(bias, n), gelu, scale: drawn(scale, n), residual: drawn(residual, m * n) };
  const gain = drawn(norm, k);
  const before = gain && { weight: vector("norm", gain), eps: EPS };
  const y = swiglu
    ? gatedMatmul(program, x, w.matrix, { norm: before, ...how })
    : matmul(program, x, w.matrix, {
        norm: before,
        bias: epilogue.bias && vector("bias", epilogue.bias),
        gelu: gelu ?? false,
        scale: epilogue.scale && vector("scale", epilogue.scale),
        into: epilogue.residual && activation("residual", rows, n, epilogue.residual),
        ...how,
      });
  const width = swiglu ? n / 2 : n;
  const sample = sampleOf(m, width, swiglu ? 2 * k : k, random);
  const operand = () => (gain ? normed(xs, gain, k) : xs);
  const expected = () =>
    swiglu ? reference.gatedMatmul(operand(), w.values, k, sample) : reference.matmul(operand(), w.values, k, epilogue, sample);
  const energies = () =>
    swiglu ? reference.gatedEnergy(operand(), w.values, k, sample) : reference.matmulEnergy(operand(), w.values, k, epilogue, sample);
  return [
    {
      ...wholeOf("y", y.buffer, m * width, expected),
      indices: indicesOf(sample, width),
      peer: { op: "matmul", m, n, k, x: xs, weights, w },
      ...(gelu ? {} : { energies }), // after GELU an element is not a sum
    },
  ];
}
