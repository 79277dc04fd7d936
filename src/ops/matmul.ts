import type { Gpu } from "../gpu/device.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import { type Activation, type Matrix, type MatrixDtype, scalesOf, type Vector } from "../tensor/tensor.ts";
import { need, needActivation, needMatrix, needVector } from "./check.ts";

export interface MatmulOptions {
  bias?: Vector | undefined;
  /** GELU with erf, after the bias. */
  gelu?: boolean;
  /** Column-wise factor (layer scale), after the activation. */
  scale?: Vector | undefined;
  /** Adds the result to this activation instead of making a new one. */
  into?: Activation | undefined;
  /** Writes the result to this activation. */
  out?: Activation | undefined;
  /** A variant by its name, instead of the one chosen for the adapter and the shape: for tests and benchmarks. */
  variant?: MatmulVariant | undefined;
}

// Up to this many rows the vector kernel reads the weights once a row; above, tiles share them.
const VECTOR_ROWS = 1;

/** The elements of y that a workgroup of each variant makes. */
const VARIANTS = {
  vector: { shader: "matmul.vector", columns: 4, rows: 1 },
  thread: { shader: "matmul.thread", columns: 64, rows: 1 },
  tiled: { shader: "matmul.tiled", columns: 64, rows: 64 },
  block: { shader: "matmul.block", columns: 64, rows: 64 },
} as const;

export type MatmulVariant = keyof typeof VARIANTS;

export const MATMUL_VARIANTS = Object.keys(VARIANTS) as MatmulVariant[];

/** Every variant that computes a product of so many rows on this device. */
export const matmulVariants = (_gpu: Gpu, _dtype: MatrixDtype, _rows: number): MatmulVariant[] => MATMUL_VARIANTS;

/** The kernel for so many rows at most: on a CPU adapter those without barriers. */
function chooseVariant(program: Program, maxRows: number): MatmulVariant {
  if (program.gpu.software) return maxRows > VECTOR_ROWS ? "block" : "thread";
  return maxRows > VECTOR_ROWS ? "tiled" : "vector";
}

/**
 * y[rows, N] = x[rows, K] · wᵀ for a Linear's weight w [N, K], with bias, GELU, layer scale and residual in the epilogue.
 *
 * @throws EngineError bad-input where shapes do not fit or K is no multiple of 4
 */
export function matmul(program: Program, x: Activation, w: Matrix, options: MatmulOptions = {}): Activation {
  const op = `matmul ${w.label}`;
  const [n, k] = w.shape;
  const { bias, scale, into } = options;
  needMatrix(op, w);
  needActivation(program, op, x, k);
  if (bias) needVector(op, bias, n);
  if (scale) needVector(op, scale, n);
  const y = into ?? options.out ?? program.activation(`${w.label}(${x.label})`, x.rows, n);
  needActivation(program, op, y, n);
  need(!(into && options.out), op, "into and out exclude each other");
  need(program.maxRows(y.rows) >= program.maxRows(x.rows), op, `${y.label} has fewer rows than ${x.label}`);

  const variant = VARIANTS[options.variant ?? chooseVariant(program, program.maxRows(x.rows))];
  for (const part of w.parts) {
    program.dispatch({
      kernel: {
        shader: variant.shader,
        libs: ["lib/step", `lib/weight.${w.dtype}`, "lib/gelu", "lib/matmul"],
        consts: {
          BIAS: bias !== undefined,
          GELU: options.gelu ?? false,
          SCALE: scale !== undefined,
          RESIDUAL: into !== undefined,
        },
        bindings: "uurrrrrw",
      },
      params: [x.rows.base, x.rows.unit, k / 4, part.rows, part.rowStart, n],
      // Switched-off operands get some read-only buffer: a binding cannot stay empty.
      buffers: [x.buffer, part.buffer, scalesOf(part), bias?.buffer ?? x.buffer, scale?.buffer ?? x.buffer, y.buffer],
      workgroups: (step) => [Math.ceil(part.rows / variant.columns), Math.ceil(rowsOf(x.rows, step) / variant.rows), 1],
    });
  }
  return y;
}
