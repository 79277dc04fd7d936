import type { Library } from "../gpu/kernel.ts";
import type { MatmulKernel, MatmulPlan, MatmulShape } from "./matmul-kernels.ts";

/** Rows that one pass over the weights serves: a power of two. */
const rowsAtOnce = (rows: number, width: number): number => Math.min(8, width, 2 ** Math.ceil(Math.log2(Math.max(1, rows))));

/** Elements of a row that matmul.gemv takes at a time: 16 bytes of q8, 32 of bf16. */
const BLOCK = 16;

/** matmul.gemv with `teams` teams of `width` threads, whose sums one of lib/combine.* adds up. */
function gemv(
  width: number,
  teams: number,
  { dtype, rows }: MatmulShape,
  combine: Library,
  directives: readonly string[] = [],
): MatmulPlan {
  const consts = { ROWS: rowsAtOnce(rows, width), WIDTH: width, TEAMS: teams };
  const half = dtype === "bf16" || dtype === "f16" ? ([`lib/widen.${dtype}`] as const) : undefined;
  const prologue = consts.ROWS <= 4; // a norm in front is made for every four columns anew: of more rows it costs more than a dispatch
  return {
    source: { shader: "matmul.gemv" },
    libs: [...(half ?? []), ...(prologue ? [] : (["lib/prologue.none"] as const)), combine],
    directives,
    consts,
    reader: half ? "lib/block.half" : `lib/block.${dtype as "f32" | "q8" | "q4"}`,
    prologue,
    splits: consts.ROWS === 1,
    maxima: true,
    columns: 4 * teams,
    rows: consts.ROWS,
  };
}

/** Matrix times few rows of x. */
export const GEMVS = {
  /** Neighbouring threads of a workgroup read along K; their sums are added up in workgroup memory. Everywhere. */
  gemv_workgroup: { needs: { widthMultipleOf: BLOCK }, plan: (_, shape) => gemv(64, 1, shape, "lib/combine.barrier") },
  /** The same, with the sums added up by subgroups; where their size is known, each has columns of its own, and nothing waits for another. */
  gemv_subgroup: {
    needs: { features: ["subgroups"], widthMultipleOf: BLOCK },
    plan(gpu, shape) {
      const { size } = gpu.subgroups;
      const directives = ["enable subgroups;"];
      // Four subgroups: of workgroups of one subgroup fewer fit a core.
      return size ? gemv(size, 4, shape, "lib/combine.subgroup", directives) : gemv(64, 1, shape, "lib/combine.subgroups", directives);
    },
  },
} satisfies Record<string, MatmulKernel>;
