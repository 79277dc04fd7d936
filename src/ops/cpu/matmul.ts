import { GROUP } from "../../tensor/tensor.ts";
import { type MatmulKernel, type MatmulPlan, type MatmulShape, QUANTIZED } from "../matmul-kernels.ts";
import { inPanels } from "./matmul-panels.ts";
import { kernel, lib } from "./source.ts";
import { readsTextureStorage } from "./texture-storage.ts";

/** Columns that a lane of matmul.gemv_columns makes. */
const LANE_COLUMNS = 8;

const SUBGROUPS = ["enable subgroups;"];

function ofColumns({ dtype, k }: MatmulShape, size: 4 | 8): MatmulPlan {
  return {
    source: kernel("cpu/matmul.gemv_columns"),
    libs: [lib(`lanes.${size}`), lib("columns")],
    directives: SUBGROUPS,
    consts: { COLUMNS: LANE_COLUMNS, EVEN: k % (2 * GROUP) === 0 },
    reader: lib(`group.${dtype as "q8" | "q4"}`),
    rounds: LANE_COLUMNS,
    prologue: true,
    columns: LANE_COLUMNS * size,
    rows: 1,
  };
}

/** Products for adapters that compute on the CPU: loads cost lane by lane there, and a barrier costs most. */
export const MATMULS = {
  /** GEMV: each thread makes a pair of columns. Everywhere. */
  cpu_gemv_thread: {
    needs: {},
    plan: () => ({ source: kernel("cpu/matmul.gemv_thread"), libs: [], prologue: true, columns: 128, rows: 1 }),
  },
  /** GEMV: a subgroup makes 4 columns of a row, its lanes side by side along K. */
  cpu_gemv_subgroup: {
    needs: { subgroupSize: [4, 8] },
    plan: ({ subgroups }) => ({
      source: kernel("cpu/matmul.gemv_subgroup"),
      libs: [],
      directives: SUBGROUPS,
      consts: { WIDTH: subgroups.size! },
      prologue: true,
      columns: 4,
      rows: 1,
    }),
  },
  /** GEMV of quantised weights: each lane makes 8 columns of one row. */
  cpu_gemv_columns: {
    needs: { formats: QUANTIZED, subgroupSize: [4, 8] },
    plan: (gpu, shape) => ofColumns(shape, gpu.subgroups.size as 4 | 8),
  },
  /** The same for up to 4 rows at once: codes become floats once for all of them. */
  cpu_gemm_rows4: {
    needs: { formats: QUANTIZED, subgroupSize: [8] },
    plan(_, shape) {
      const { libs, consts, ...plan } = ofColumns(shape, 8);
      const rows = Math.min(4, 2 ** Math.ceil(Math.log2(shape.rows))); // 8 would not fit the first cache
      const source = kernel("cpu/matmul.gemm_rows4");
      return { ...plan, source, libs: [...libs, lib(`rows4.${shape.dtype as "q8" | "q4"}`)], consts: { ...consts, ROWS: rows }, rows };
    },
  },
  /** Each lane makes 2 columns of 8 rows. */
  cpu_gemm_rows8: {
    needs: { subgroupSize: [4, 8] },
    plan(gpu) {
      const size = gpu.subgroups.size as 4 | 8;
      const libs = [lib(`lanes.${size}`)];
      return { source: kernel("cpu/matmul.gemm_rows8"), libs, directives: SUBGROUPS, prologue: true, columns: 2 * size, rows: 8 };
    },
  },
  /** Tiles of 32 × 32, of which each thread makes 4 × 4 by itself. Everywhere. */
  cpu_gemm_tile32: { needs: {}, plan: () => ({ source: kernel("cpu/matmul.gemm_tile32"), libs: [lib("tile")], columns: 32, rows: 32 }) },
  /** Tiles of 16 × 16 (with 4 lanes 8 × 16) that one subgroup makes. */
  cpu_gemm_tile16: {
    needs: { subgroupSize: [4, 8] },
    plan: (gpu) =>
      gpu.subgroups.size === 8
        ? { source: kernel("cpu/matmul.gemm_tile16_lanes8"), libs: [], directives: SUBGROUPS, columns: 16, rows: 16 }
        : { source: kernel("cpu/matmul.gemm_tile16_lanes4"), libs: [lib("tile")], directives: SUBGROUPS, columns: 16, rows: 8 },
  },
  /** Tiles of 16 × 64 from operands in texture storage. */
  cpu_gemm_panels: {
    needs: { subgroupSize: [8], device: readsTextureStorage },
    plan: () => ({ source: kernel("cpu/matmul.finish"), libs: [], consts: { EACH: 16 }, before: inPanels, columns: 256, rows: 16 }),
  },
} satisfies Record<string, MatmulKernel>;
