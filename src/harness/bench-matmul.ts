import { type MatmulVariant, variantsOf } from "../ops/choose.ts";
import { chosenVariant, matmul } from "../ops/matmul.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype } from "../tensor/tensor.ts";
import { activationOf, type BenchCase, type Goal } from "./bench-case.ts";
import { Noise, nmse, randomMatrix, uploadMatrix } from "./bench-data.ts";

const SAMPLES = 256;

function matmulCase(m: number, n: number, k: number, dtype: MatrixDtype, goals: readonly Goal[] = [], full = false): BenchCase {
  const weightBytes = n * k * BYTES_PER_ELEMENT[dtype] + (isQuantized(dtype) ? (n * k * 2) / GROUP : 0);
  return {
    op: m === 1 ? "matvec" : "matmul",
    goals,
    full,
    params: `m=${m},n=${n},k=${k},weights=${dtype}`,
    flops: 2 * m * n * k,
    bytes: weightBytes + 4 * m * (k + n),
    ceiling: m <= 8 ? "streamGBps" : "fmaGflops",
    accuracy: isQuantized(dtype) ? "quantized" : "f32",
    variants: (gpu) => variantsOf(gpu, "matmul", { dtype, rows: m }),
    chosen: (gpu) => chosenVariant(gpu, { shape: [n, k], dtype }, m),
    prepare(gpu) {
      const noise = new Noise(m + n + k);
      const x = noise.values(m * k);
      const w = randomMatrix(noise, dtype, n, k);
      const input = activationOf(gpu, "x", x, k, 1);
      const matrix = uploadMatrix(gpu.memory, "w", w);
      // The corners, where a tile is cut, and others anywhere.
      const samples = [
        [0, 0],
        [m - 1, n - 1],
        [0, n - 1],
        [m - 1, 0],
        ...Array.from({ length: SAMPLES }, () => [noise.below(m), noise.below(n)]),
      ] as [number, number][];
      return {
        step: { units: m, start: 0 },
        spec: { op: "matmul", m, x, w },
        record(p, variant) {
          const y = matmul(p, input, matrix, { variant: variant as MatmulVariant | undefined });
          return { buffer: y.buffer, bytes: m * n * 4 };
        },
        nmse(output) {
          const y = new Float32Array(output);
          return nmse(
            samples.map(([row, column]) => {
              let sum = 0;
              for (let i = 0; i < k; i++) sum += x[row * k + i]! * w.value(column, i);
              return [y[row * n + column]!, sum];
            }),
          );
        },
      };
    },
  };
}

const GEMM: readonly Goal[] = [{ over: "", least: 2 }, { ofCeiling: 0.65 }];
const GEMV: readonly Goal[] = [{ over: "onnxruntime", least: 10 }, { over: "jax", least: 1.2 }, { ofCeiling: 0.7 }];
const QUANTIZED_GEMM: readonly Goal[] = [{ over: "onnxruntime", least: 2 }, { ofCeiling: 0.65 }];
const QUANTIZED_GEMV: readonly Goal[] = [{ over: "onnxruntime", least: 4 }, { ofCeiling: 0.7 }];
const FEW_ROWS: readonly Goal[] = [{ over: "onnxruntime", least: 2 }, { ofCeiling: 0.5 }];

/** The goals' shapes: products of a prefill and of a picture, and the vector products of a decoded token. */
export const matmulCases = (): BenchCase[] => [
  ...(["f32", "bf16", "q8", "q4"] as const).flatMap((dtype) => {
    const goals = isQuantized(dtype) ? QUANTIZED_GEMM : GEMM;
    return [matmulCase(1024, 2048, 2048, dtype, goals), matmulCase(1025, 4096, 1024, dtype, goals)];
  }),
  matmulCase(512, 11008, 2048, "q4", [{ over: "onnxruntime", least: 2 }]),
  ...(["f32", "bf16", "f16", "q8", "q4"] as const).map((dtype) =>
    matmulCase(1, 11008, 2048, dtype, dtype === "f32" ? GEMV : isQuantized(dtype) ? QUANTIZED_GEMV : []),
  ),
  ...(["bf16", "q4"] as const).map((dtype) => matmulCase(1, 2048, 11008, dtype)),
  // Sequences that decode together: m rows must take no longer than m times one.
  ...(["bf16", "q8", "q4"] as const).flatMap((dtype) =>
    [1, 2, 3, 4, 5, 6, 7, 8].map((m) => matmulCase(m, 4864, 896, dtype, m > 1 ? FEW_ROWS : [])),
  ),
  // The head of the 1B.
  ...(["bf16", "q8", "q4"] as const).map((dtype) =>
    matmulCase(1, 151674, 896, dtype, isQuantized(dtype) ? QUANTIZED_GEMV : FEW_ROWS, true),
  ),
];
