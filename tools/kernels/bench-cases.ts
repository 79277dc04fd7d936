import type { Gpu } from "../../src/gpu/device.ts";
import type { KernelCase } from "../../src/harness/case.ts";
import { causalCase, visionCase } from "../../src/harness/cases/attention-case.ts";
import { matmulCase } from "../../src/harness/cases/matmul-case.ts";
import { normCase } from "../../src/harness/cases/norm.ts";
import { ropeCase } from "../../src/harness/cases/rope.ts";
import { embedCase, swigluCase } from "../../src/harness/cases/rowwise.ts";
import { argmaxCase } from "../../src/harness/cases/sample.ts";
import {
  type AttentionVariant,
  type DecodeVariant,
  type MatmulVariant,
  type NormVariant,
  triesOf,
  variantsOf,
} from "../../src/ops/choose.ts";
import { chosenVariant } from "../../src/ops/matmul.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype } from "../../src/tensor/tensor.ts";
import type { Ceilings } from "./bench-ceilings.ts";

/** What a case is meant to reach: `least` times the speed of every peer whose name contains `over`, or this share of its ceiling. */
export type Goal = { over: "" | "onnxruntime" | "jax"; least: number } | { ofCeiling: number };

/** A kernel case that is timed, in every variant. */
export interface BenchCase {
  /** The case as it is tested: in a variant, or as the engine chooses. */
  of(variant: string | undefined): KernelCase;
  flops: number;
  /** Read and written, every operand once. */
  bytes: number;
  /** What bounds it. */
  ceiling: keyof Ceilings;
  variants(gpu: Gpu): readonly string[];
  /** Which of them the engine takes by itself; the first where absent. */
  chosen?(gpu: Gpu): string;
  goals?: readonly Goal[];
  /** Takes a CPU adapter many seconds: timed only where the full set is asked for. */
  full?: boolean;
}

function product(m: number, n: number, k: number, weights: MatrixDtype, goals: readonly Goal[] = [], full = false): BenchCase {
  const weightBytes = n * k * BYTES_PER_ELEMENT[weights] + (isQuantized(weights) ? (n * k * 2) / GROUP : 0);
  return {
    of: (variant) => matmulCase({ m, n, k, weights, variant: variant as MatmulVariant | undefined }),
    flops: 2 * m * n * k,
    bytes: weightBytes + 4 * m * (k + n),
    ceiling: m <= 8 ? "streamGBps" : "fmaGflops",
    variants: (gpu) => variantsOf(gpu, "matmul", { dtype: weights, rows: m }),
    chosen: (gpu) => chosenVariant(gpu, { shape: [n, k], dtype: weights }, m).variant,
    ...{ goals, full },
  };
}

const OVER_ORT: readonly Goal[] = [{ over: "onnxruntime", least: 2 }];

function vision(tokens: number, heads: number, headDim: number, goals: readonly Goal[] = []): BenchCase {
  return {
    of: (variant) => visionCase({ heads, headDim, tokens, variant: variant as AttentionVariant | undefined }),
    flops: 4 * tokens * tokens * heads * headDim,
    bytes: 4 * 4 * tokens * heads * headDim,
    ceiling: "fmaGflops",
    variants: (gpu) => variantsOf(gpu, "attention", { width: headDim }),
    chosen: (gpu) => triesOf(gpu, "attention", { width: headDim })[0]!,
    goals,
  };
}

/** The last `tokens` positions of `context`, heads in groups that share keys and values. */
function causal(tokens: number, context: number, heads: number, headDim: number, full = false): BenchCase {
  const [start, kvHeads] = [context - tokens, 2];
  const of = { heads, kvHeads, headDim, kv: "f16" } as const;
  const pairs = tokens * start + (tokens * (tokens + 1)) / 2; // of a query and a key it sees
  const family = tokens === 1 ? "decode" : "attention";
  return {
    of: (variant) =>
      tokens === 1
        ? causalCase({ ...of, positions: [start], variant: variant as DecodeVariant | undefined })
        : causalCase({ ...of, tokens, start, prefill: variant as AttentionVariant | undefined }),
    flops: 4 * pairs * heads * headDim,
    bytes: 2 * headDim * (4 * tokens * heads + 2 * context * kvHeads), // q and out are f32, keys and values f16
    ceiling: tokens === 1 ? "streamGBps" : "fmaGflops",
    variants: (gpu) => variantsOf(gpu, family, { width: headDim }),
    chosen: (gpu) => triesOf(gpu, family, { width: headDim })[0]!,
    goals: tokens === 1 ? [] : [...OVER_ORT, { ofCeiling: 0.4 }],
    full,
  };
}

function norm(rows: number, width: number, layer: boolean, goals: readonly Goal[] = []): BenchCase {
  return {
    of: (variant) => normCase({ rows, width, layer, variant: variant as NormVariant | undefined }),
    flops: rows * width * (layer ? 7 : 4),
    bytes: 4 * (2 * rows * width + (layer ? 2 : 1) * width),
    ceiling: "streamGBps",
    variants: (gpu) => variantsOf(gpu, "norm", { rows, width }),
    chosen: (gpu) => triesOf(gpu, "norm", { rows, width })[0]!,
    goals,
  };
}

/** An op with one kernel, bound by what it reads and writes. */
const only = (variant: string, test: KernelCase, flops: number, bytes: number): BenchCase => ({
  ...{ of: () => test, flops, bytes, ceiling: "copyGBps", variants: () => [variant] },
});

const swiglu = (rows: number, width: number) =>
  only("row", swigluCase({ rows, width, outliers: false }), 5 * rows * width, 4 * 3 * rows * width);

/** Tokens at the end of a context: q turned, k turned and appended, v appended. */
function rope(tokens: number, context: number, heads: number, kvHeads: number, headDim: number): BenchCase {
  const test = ropeCase("rope", { tokens, start: context - tokens, heads, kvHeads, headDim, context, theta: 1e6 });
  return only("append", test, 3 * tokens * (heads + kvHeads) * headDim, 4 * 2 * tokens * (heads + 2 * kvHeads) * headDim);
}

const GEMM: readonly Goal[] = [{ over: "", least: 2 }, { ofCeiling: 0.65 }];
const GEMV: readonly Goal[] = [{ over: "onnxruntime", least: 10 }, { over: "jax", least: 1.2 }, { ofCeiling: 0.7 }];
const QUANTIZED_GEMM: readonly Goal[] = [...OVER_ORT, { ofCeiling: 0.65 }];
const QUANTIZED_GEMV: readonly Goal[] = [{ over: "onnxruntime", least: 4 }, { ofCeiling: 0.7 }];
const FEW_ROWS: readonly Goal[] = [...OVER_ORT, { ofCeiling: 0.5 }];

/** Everything that is timed: the shapes of a picture, a prompt and a decoded token, with their goals. */
export const benchCases = (): BenchCase[] => [
  // Products of a prefill and of a picture, and the vector products of a decoded token.
  ...(["f32", "bf16", "q8", "q4"] as const).flatMap((weights) => {
    const goals = isQuantized(weights) ? QUANTIZED_GEMM : GEMM;
    return [product(1024, 2048, 2048, weights, goals), product(1025, 4096, 1024, weights, goals)];
  }),
  product(512, 11008, 2048, "q4", OVER_ORT),
  ...(["f32", "bf16", "f16", "q8", "q4"] as const).map((weights) =>
    product(1, 11008, 2048, weights, weights === "f32" ? GEMV : isQuantized(weights) ? QUANTIZED_GEMV : []),
  ),
  ...(["bf16", "q4"] as const).map((weights) => product(1, 2048, 11008, weights)),
  // Sequences that decode together: m rows must take no longer than m times one.
  ...(["bf16", "q8", "q4"] as const).flatMap((weights) =>
    [1, 2, 3, 4, 5, 6, 7, 8].map((m) => product(m, 4864, 896, weights, m > 1 ? FEW_ROWS : [])),
  ),
  // The head of the 1B.
  ...(["bf16", "q8", "q4"] as const).map((weights) =>
    product(1, 151674, 896, weights, isQuantized(weights) ? QUANTIZED_GEMV : FEW_ROWS, true),
  ),
  vision(257, 16, 64),
  vision(1025, 16, 64, OVER_ORT),
  causal(512, 512, 14, 64),
  causal(512, 512, 16, 128),
  causal(512, 2048, 16, 128),
  causal(3428, 3428, 16, 128, true), // the prompt of 13 tiles on the 4B
  ...[128, 1024, 4096].map((context) => causal(1, context, 16, 128)),
  norm(1025, 1024, true, OVER_ORT),
  norm(65, 192, true),
  norm(512, 2048, false),
  norm(1, 2048, false),
  rope(512, 2048, 16, 2, 128),
  rope(1, 2048, 16, 2, 128),
  swiglu(512, 11008),
  swiglu(1, 11008),
  only("gather", embedCase({ tokens: 512, vocabulary: 16384, width: 2048, weights: "bf16" }), 0, 512 * 2048 * 6),
  { ...only("greedy", argmaxCase(151674, 1, 0), 151674, 4 * 151674), ceiling: "streamGBps" },
];
