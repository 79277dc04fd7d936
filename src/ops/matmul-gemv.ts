import type { Library } from "../gpu/kernel.ts";
import { isQuantized } from "../tensor/tensor.ts";
import type { MatmulKernel, MatmulPlan, MatmulShape } from "./matmul-kernels.ts";

/** Rows that one pass over the weights serves in the vector kernels: a power of two. */
const rowsAtOnce = (rows: number, width: number): number => Math.min(8, width, 2 ** Math.ceil(Math.log2(Math.max(1, rows))));

/** matmul.gemv with WIDTH threads, whose sums one of lib/combine.* adds up. */
function gemv(width: number, { dtype, rows }: MatmulShape, combine: Library, directives: readonly string[] = []): MatmulPlan {
  const consts = { ROWS: rowsAtOnce(rows, width), WIDTH: width };
  const libs: Library[] = [isQuantized(dtype) ? "lib/k_step.vec8" : "lib/k_step.vec4", combine];
  return { source: { shader: "matmul.gemv" }, libs, directives, consts, prologue: true, columns: 4, rows: consts.ROWS };
}

/** Matrix times few rows of x. */
export const GEMVS = {
  /** GEMV: neighbouring threads of a workgroup read along K; their sums are added up in workgroup memory. Everywhere. */
  gemv_workgroup: {
    needs: {},
    plan: (_, shape) => gemv(64, shape, "lib/combine.barrier"),
  },
  /** GEMV: the same, with the sums added up by subgroups. */
  gemv_subgroup: {
    needs: { features: ["subgroups"] },
    plan(gpu, shape) {
      const size = gpu.subgroups.size;
      return gemv(size ?? 64, shape, size ? "lib/combine.subgroup" : "lib/combine.subgroups", ["enable subgroups;"]);
    },
  },
} satisfies Record<string, MatmulKernel>;
