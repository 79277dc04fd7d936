import { type MatmulVariant, VARIANTS } from "../../ops/choose.ts";
import type { MatrixDtype } from "../../tensor/tensor.ts";
import type { KernelCase } from "../case.ts";
import type { Random } from "../random.ts";
import { type Fused, matmulCase, type Spec } from "./matmul-case.ts";

const DTYPES: readonly MatrixDtype[] = ["f32", "f16", "bf16", "q8", "q4"];
const QUANTIZED: readonly MatrixDtype[] = ["q8", "q4"];

/** The model's layers with layer scale: the form in which most shapes are tested. */
const LINEAR: Fused = { bias: true, scale: true, residual: true };
const MODEL_FUSED: readonly Fused[] = [{ bias: true }, { bias: true, gelu: true }, { residual: true }];
const EVERY_FUSED: readonly Fused[] = Array.from({ length: 16 }, (_, bits) => ({
  bias: (bits & 1) > 0,
  gelu: (bits & 2) > 0,
  scale: (bits & 4) > 0,
  residual: (bits & 8) > 0,
}));

/** The nearest K that a format takes. */
const nearestK = (k: number, weights: MatrixDtype): number => (weights === "q8" || weights === "q4" ? Math.max(32, k - (k % 32)) : k);

/** [n, k] of the matrices of InternVL2_5-1B and -4B (shared by both: the vision tower). */
const SMALL_MATRICES = [
  [1152, 896],
  [896, 896],
  [896, 4864],
  [1024, 588],
  [1024, 1024],
] as const;
const LARGE_MATRICES = [
  [9728, 896],
  [2560, 2048],
  [2048, 2048],
  [2048, 11008],
  [3072, 1024],
  [4096, 1024],
  [1024, 4096],
  [2048, 4096],
] as const;

const ODD: readonly (readonly [m: number, n: number, k: number])[] = [
  [1, 1, 4],
  [1, 3, 65 * 4],
  [1, 65, 1024],
  [1, 1025, 64],
  [2, 63, 96],
  [3, 65, 100],
  [8, 130, 96],
  [63, 63, 64],
  [64, 64, 128],
  [65, 65, 68],
  [65, 1, 1024],
  [66, 127, 32],
  [129, 130, 160],
  [1025, 3, 64],
];

/** [m, n, k] of gate and up in one product, n / 2 columns each. */
const GATED: readonly (readonly [m: number, n: number, k: number])[] = [
  [1, 2, 4],
  [1, 130, 1024],
  [2, 66, 96],
  [5, 34, 64],
  [17, 258, 100],
  [65, 130, 68],
  [130, 126, 32],
];

/** What the engine chooses itself; then every variant. */
const CHOICES = [undefined, ...VARIANTS.matmul] as const;
type Choice = (typeof CHOICES)[number];

/** Compiles fastest, and has one pipeline for any number of rows: it stands for what differs in a library only. */
const CHEAPEST = "cpu_gemv_thread" satisfies MatmulVariant;

/** Variants that take nothing but q8 and q4. */
const isQuantizedOnly = (variant: Choice): boolean =>
  variant === "gemm_dot4" || variant === "gemv_subgroup_matrix" || variant === "cpu_gemv_columns" || variant === "cpu_gemm_rows4";

/**
 * On CPU adapters compiling a pipeline takes longer than all its cases. The ordinary set has every variant with one format, every format with
 * what the engine chooses, some formats with the cheapest variant; the full set has all combinations. An epilogue costs no pipeline.
 */
function sizeOf(variant: Choice, weights: MatrixDtype, m: number): "full" | undefined {
  const format =
    variant === undefined || weights === (isQuantizedOnly(variant) ? "q4" : "bf16") || (variant === CHEAPEST && weights === "q4");
  // The vector kernels have a pipeline for 1, 2, 4 and 8 rows; with barriers each takes a CPU adapter longer than the one before.
  const rows = variant === "gemv_workgroup" ? m <= 2 : variant === "gemv_subgroup" ? m === 1 || m > 4 : true;
  return format && rows ? undefined : "full";
}

/** Whatever a variant has to be right for, with one epilogue. */
function* linear(random: Random, of: Pick<Spec, "weights" | "variant">): Generator<Spec> {
  const { weights } = of;
  for (const [m, n, k] of ODD) yield { ...of, ...LINEAR, m, n, k: nearestK(k, weights) };
  for (let i = 0; i < 5; i++) {
    const m = random.pick([1, random.integer(2, 20), random.integer(20, 140)]);
    yield { ...of, ...LINEAR, m, n: random.integer(1, 200), k: nearestK(4 * random.integer(1, 160), weights) };
  }
  // Rows by unit and base, room for more, matrices over several bindings, outliers.
  yield { ...of, ...LINEAR, m: 5, n: 67, k: 96, spare: 3 };
  yield { ...of, ...LINEAR, m: 66, units: 2, spare: 1, n: 33, k: 32 };
  yield { ...of, ...LINEAR, m: 41, base: 1, units: 4, n: 33, k: 32 };
  yield { ...of, ...LINEAR, m: 3, n: 70, k: 64, parts: 3 };
  yield { ...of, ...LINEAR, m: 1, n: 70, k: 96, parts: 2 };
  yield { ...of, ...LINEAR, m: 1, n: 64, k: 896, outliers: true };
  yield { ...of, ...LINEAR, m: 17, n: 64, k: 896, outliers: true };
  for (const m of [1, 17]) {
    yield { ...of, ...LINEAR, m, n: 64, k: 1024, huge: true };
    yield { ...of, ...LINEAR, m, n: 64, k: 192, small: true };
  }
  for (const [n, k] of SMALL_MATRICES) yield { ...of, ...LINEAR, m: 1, n, k: nearestK(k, weights) };
  for (const [n, k] of LARGE_MATRICES) yield { ...of, ...LINEAR, m: 1, n, k, size: "full" };
}

/** Gate and up; outliers make gates of some hundreds, whose exp would overflow. */
function* gated(of: Pick<Spec, "weights" | "variant">): Generator<Spec> {
  const swiglu = true;
  for (const [m, n, k] of GATED) yield { ...of, swiglu, m, n, k: nearestK(k, of.weights) };
  yield { ...of, swiglu, m: 5, n: 38, k: 96, spare: 3 };
  yield { ...of, swiglu, m: 1, n: 64, k: 896, outliers: true };
  yield { ...of, swiglu, m: 17, n: 64, k: 896, outliers: true };
  yield { ...of, swiglu, m: 3, n: 72, k: 64, parts: 3 }; // in two kernels, of which the second takes four columns at a time
  yield { ...of, swiglu, m: 1, n: 136, k: 64, parts: 2 };
  for (const n of [9728, 22016]) yield { ...of, swiglu, m: 1, n, k: n > 10_000 ? 2048 : 896, size: "full" };
}

/** Each variant with each format, and the epilogues: an epilogue sees no weights, one format stands for all. */
function* everyVariant(random: Random): Generator<Spec> {
  for (const variant of CHOICES) {
    const sized = (spec: Spec): Spec => ({ size: sizeOf(variant, spec.weights, spec.m), ...spec });
    for (const weights of DTYPES) {
      for (const spec of linear(random, { weights, variant })) yield sized(spec);
      for (const spec of gated({ weights, variant })) yield sized(spec);
      // The bare product.
      for (const [m, n, k] of ODD.slice(2, 12)) yield sized({ weights, variant, m, n, k: nearestK(k, weights) });
    }
    for (const fused of variant === CHEAPEST ? EVERY_FUSED : MODEL_FUSED) {
      const of = { ...fused, weights: isQuantizedOnly(variant) ? "q4" : "bf16", variant, n: 69, k: 96 } as const;
      yield sized({ ...of, m: 1 });
      yield sized({ ...of, m: 7, spare: 1 });
    }
  }
}

/** RMSNorm in front of the products of a decoded token: in the kernels for few rows, and by a kernel of its own before a tiled one. */
function* normedProducts(): Generator<Spec> {
  const few = ["gemv_workgroup", "gemv_subgroup", "cpu_gemv_thread", "cpu_gemv_subgroup", "cpu_gemv_columns"] as const;
  for (const variant of [undefined, ...few, "cpu_gemm_rows4", "cpu_gemm_rows8", "cpu_gemm_tile32"] as const) {
    for (const weights of DTYPES) {
      const of = { norm: true, weights, variant };
      const size = sizeOf(variant, weights, 1);
      for (const m of [1, 2, 4, 8]) {
        const size = sizeOf(variant, weights, m);
        yield { ...of, bias: true, m, n: 69, k: 96, size };
        yield { ...of, swiglu: true, m, n: 66, k: 896, outliers: true, size };
      }
      yield { ...of, bias: true, m: 1, n: 67, k: 1024, size };
      yield { ...of, residual: true, m: 3, n: 70, k: 64, parts: 2, spare: 2, size: size ?? sizeOf(variant, weights, 5) };
      yield { ...of, swiglu: true, m: 1, n: 136, k: 64, parts: 2, size };
      yield { ...of, bias: true, m: 1, n: 1152, k: 896, outliers: true, size };
      yield { ...of, bias: true, m: 2, n: 69, k: 896, huge: true, size: size ?? sizeOf(variant, weights, 2) };
      yield { ...of, m: 1, n: 151674, k: 896, size: "full" };
    }
  }
}

/** What decodes several sequences at once: every number of rows, with what the engine chooses and with the kernels that share codes. */
function* fewRows(): Generator<Spec> {
  for (const variant of [undefined, "cpu_gemv_columns", "cpu_gemm_rows4", "gemv_subgroup_matrix"] as const) {
    for (const weights of variant ? QUANTIZED : DTYPES) {
      for (const m of [2, 3, 4, 5, 6, 7, 8]) {
        const of = { m, weights, variant };
        yield { ...of, ...LINEAR, n: 69, k: 96 };
        yield { ...of, norm: true, bias: true, n: 70, k: 320, spare: 8 - m, outliers: m % 2 === 0 };
        yield { ...of, norm: true, swiglu: true, n: 136, k: 64, parts: 1 + (m % 2) };
        yield { ...of, ...LINEAR, n: 1152, k: 896, size: "full" };
      }
    }
  }
}

/** Tiles and parts of K that small shapes do not come to by themselves. */
function* tilings(): Generator<Spec> {
  for (const [variant, tiles] of [
    ["gemm_tile", [0, 1, 2]],
    ["gemm_dot4", [0, 1]],
    ["gemm_subgroup_matrix", [0, 1]],
    ["gemv_subgroup_matrix", [0]],
  ] as const) {
    for (const tile of tiles) {
      for (const weights of isQuantizedOnly(variant) ? QUANTIZED : DTYPES) {
        const size = weights === "q4" || (weights === "bf16" && !isQuantizedOnly(variant)) ? undefined : "full";
        const of = { weights, variant, size } as const;
        yield { ...of, ...LINEAR, m: 135, n: 203, k: nearestK(100, weights), tiling: { tile, splits: 1 } };
        yield { ...of, ...LINEAR, m: 131, n: 70, k: nearestK(292, weights), spare: 2, parts: 2, tiling: { tile, splits: 3 } };
        yield { ...of, swiglu: true, m: 66, n: 130, k: 96, tiling: { tile, splits: 1 } };
      }
    }
  }
}

/** Operands in one or two parts, on matrix units. */
function* onMatrixUnits(): Generator<Spec> {
  for (const weights of DTYPES) {
    const shape = { ...LINEAR, m: 65, n: 67, k: nearestK(896, weights) };
    for (const of of [
      { precision: "auto", bounded: true },
      { precision: "auto", bounded: true, small: true },
      { precision: "auto", outliers: true },
      { precision: "auto", huge: true },
      { outliers: true },
      { huge: true },
    ] as const)
      yield { ...of, ...shape, weights, variant: "gemm_subgroup_matrix", size: weights === "f16" ? "full" : undefined };
  }
}

/** The whole products of a prompt and of a picture, with the kernels that the engine chooses itself. */
function* wholeProducts(): Generator<Spec> {
  for (const weights of DTYPES) {
    const of = { weights, variant: undefined, size: "full" as const };
    for (const [n, k] of [...SMALL_MATRICES, ...LARGE_MATRICES])
      yield { ...of, m: k === 1024 || k === 588 ? 1025 : 256, n, k: nearestK(k, weights) };
    yield { ...of, m: 256, n: 9728, k: 896, swiglu: true };
  }
}

/** GEMM (`matmul`) and GEMV (`matvec`, one row). */
export function matmulCases(random: Random): KernelCase[] {
  const specs = [...everyVariant(random), ...normedProducts(), ...fewRows(), ...tilings(), ...onMatrixUnits(), ...wholeProducts()];
  return specs.map(matmulCase);
}
