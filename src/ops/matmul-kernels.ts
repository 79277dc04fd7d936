import type { Gpu } from "../gpu/device.ts";
import type { KernelSource, KernelSpec, Library } from "../gpu/kernel.ts";
import type { Program } from "../gpu/program.ts";
import type { MatrixConfig } from "../gpu/subgroups.ts";
import type { Activation, Bindable, Matrix, MatrixDtype } from "../tensor/tensor.ts";
import { GEMVS } from "./matmul-gemv.ts";
import type { Needs } from "./needs.ts";

/** A product's shape: a weight of this format with rows of K elements, and at most `rows` rows of x. */
export interface MatmulShape {
  dtype: MatrixDtype;
  rows: number;
  k: number;
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
  /** Whether it takes x in 8 bits: a dispatch before it makes codes and scales, which are bound after the other operands. */
  codes?: boolean;
  /** Records dispatches that make the products, if there are any; the kernel itself then does the epilogue only. */
  before?: (program: Program, x: Activation, w: Matrix, gated: boolean, finish: Finish) => void;
  /** The elements of y that a workgroup makes. */
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

export const QUANTIZED: readonly MatrixDtype[] = ["q8", "q4"];

/** The fragment size for matmul.gemm_subgroup_matrix: the first configuration f16 → f32 that fits its tiles. */
function matrixConfig({ matrixSyntax, subgroups }: Gpu): MatrixConfig | undefined {
  if (!matrixSyntax) return undefined;
  return subgroups.matrices.find(
    (c) => c.componentType === "f16" && c.resultComponentType === "f32" && 16 % c.M === 0 && 16 % c.N === 0 && 32 % c.K === 0,
  );
}

const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix";

/** Kernels that any adapter may run; CPU adapters have more (cpu/matmul.ts). */
export const MATMULS = {
  ...GEMVS,
  /** Tiles of 64 × 64 by way of workgroup memory. */
  gemm_tile64: {
    needs: { invocations: 256, workgroupBytes: 10240 },
    plan: () => ({ source: { shader: "matmul.gemm_tile64" }, libs: ["lib/tile"], columns: 64, rows: 64 }),
  },
  /** Tiles of 128 × 128 by way of workgroup memory. */
  gemm_tile128: {
    needs: { invocations: 256, workgroupBytes: 16384 },
    plan: () => ({ source: { shader: "matmul.gemm_tile128" }, libs: ["lib/tile", "lib/tile.f32"], columns: 128, rows: 128 }),
  },
  /** The same with operands in f16. */
  gemm_tile128_f16: {
    needs: { precision: "f16", features: ["shader-f16"], invocations: 256, workgroupBytes: 8192 },
    plan: () => ({
      source: { shader: "matmul.gemm_tile128" },
      libs: ["lib/tile", "lib/tile.f16"],
      directives: ["enable f16;"],
      columns: 128,
      rows: 128,
    }),
  },
  /** On matrix units (subgroup matrices), operands in f16. */
  gemm_subgroup_matrix: {
    needs: {
      precision: "f16",
      features: ["shader-f16", SUBGROUP_MATRIX],
      subgroupSize: "fixed",
      workgroupBytes: 14336,
      device: (gpu) => matrixConfig(gpu) !== undefined && gpu.device.limits.maxComputeInvocationsPerWorkgroup >= 4 * gpu.subgroups.size!,
    },
    plan(gpu) {
      const { M, N, K } = matrixConfig(gpu)!;
      return {
        source: { shader: "matmul.gemm_subgroup_matrix" },
        libs: [gpu.matrixSyntax === "typed" ? "lib/fragments.typed" : "lib/fragments.flag"],
        directives: [
          "enable f16;",
          "enable subgroups;",
          "enable chromium_experimental_subgroup_matrix;",
          // Which subgroup a thread is in follows from its index; the analysis cannot know that this is the same for all of it.
          "diagnostic(off, chromium.subgroup_matrix_uniformity);",
        ],
        consts: { M, N, K, WIDTH: gpu.subgroups.size! },
        columns: 64,
        rows: 64,
      };
    },
  },
  /** Activations in 8 bits: dot4I8Packed makes four products an instruction. */
  gemm_dot4: {
    needs: { precision: "q8", formats: QUANTIZED, invocations: 256, workgroupBytes: 7168, storageBuffers: 8 },
    plan: (_, { dtype }) => ({
      source: { shader: "matmul.gemm_dot4" },
      libs: ["lib/tile", `lib/codes.${dtype as "q8" | "q4"}`],
      codes: true,
      columns: 64,
      rows: 64,
    }),
  },
} satisfies Record<string, MatmulKernel>;
