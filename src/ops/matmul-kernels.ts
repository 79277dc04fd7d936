import type { Gpu } from "../gpu/device.ts";
import type { KernelSource, KernelSpec, Library } from "../gpu/kernel.ts";
import type { Precision, Program } from "../gpu/program.ts";
import type { Activation, Bindable, Matrix, MatrixDtype } from "../tensor/tensor.ts";
import type { Tile } from "./matmul-tiles.ts";
import type { Needs } from "./needs.ts";

/** A product's shape: a weight of this format with rows of K elements, and at most `rows` rows of x. */
export interface MatmulShape {
  dtype: MatrixDtype;
  rows: number;
  k: number;
  precision: Precision;
  /** Whether x may be rounded to f16 where precision is not exact (needs.ts). */
  bounded: boolean;
}

/** Everything that a dispatch of a kernel is made of, apart from its operands. */
export interface MatmulPlan {
  source: KernelSource;
  /** After lib/step, lib/weight.* and lib/matmul. */
  libs: readonly Library[];
  directives?: KernelSpec["directives"];
  consts?: Readonly<Record<string, number | boolean>>;
  /** The library that reads the weights, where it is not lib/weight.* of their format. */
  reader?: Library;
  /** For a loop that must stay one: how often it runs (lib/matmul: `rounds`). */
  rounds?: number;
  /** Whether it has a prologue (lib/prologue.*): RMSNorm of the rows of x at no dispatch of its own. */
  prologue?: boolean;
  /** Whether it can put splits of decode attention together in front of itself (lib/prologue.splits). */
  splits?: boolean;
  /** Whether it can keep the maxima of its columns (lib/maxima.*). */
  maxima?: boolean;
  /** Tiles of a GEMM that splits K (lib/gemm), the largest first: each step takes the one that fits it. */
  tiles?: readonly Tile[];
  /** Whether it takes x in 8 bits: a dispatch before it makes codes, which are bound as x, and scales, which are bound last. */
  codes?: boolean;
  /** Records dispatches that make the products, if there are any; the kernel itself then does the epilogue only. */
  before?: (program: Program, x: Activation, w: Matrix, gated: boolean, finish: Finish) => void;
  /** The elements of y that a workgroup makes; of several tiles the smallest. */
  columns: number;
  rows: number;
}

/** Records the epilogue of products f32 [rows, n up to a multiple of 64]: it makes the columns of y from `column` on. */
export type Finish = (products: Bindable, n: number, column: number) => void;

/** A way to multiply, right for any number of rows. */
export interface MatmulKernel {
  needs: Needs;
  plan(gpu: Gpu, shape: MatmulShape): MatmulPlan;
}

/** The formats of weights in groups of 32 along K. */
export const QUANTIZED: readonly MatrixDtype[] = ["q8", "q4"];
