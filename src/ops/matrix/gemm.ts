import type { Gpu } from "../../gpu/device.ts";
import type { MatrixConfig } from "../../gpu/subgroups.ts";
import { gemm } from "../matmul-gemm.ts";
import type { MatmulKernel } from "../matmul-kernels.ts";
import type { Tile } from "../matmul-tiles.ts";
import type { Shape } from "../needs.ts";
import { matrixDirectives, matrixOf, SUBGROUP_MATRIX } from "./units.ts";

/** Products of fragments for one of the operands: with x in two f16 parts 2, with weights in two parts besides 3. */
function products({ componentType }: MatrixConfig, { dtype, precision = "exact", bounded }: Shape): number {
  if (componentType === "f32") return 1;
  if (precision !== "exact") return bounded ? 1 : 2;
  return dtype === "bf16" || dtype === "f16" ? 2 : 3;
}

/** The tiles that a device has room for. */
function matrixTiles(gpu: Gpu, shape: Shape): readonly Tile[] {
  const matrix = matrixOf(gpu);
  if (!matrix) return [];
  const { M, N, tiles, componentType, most } = matrix;
  const parts = products(matrix, shape);
  const { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: threads } = gpu.device.limits;
  if (parts > (most ?? parts)) return [];
  return tiles.filter(({ consts: { TM, TN, BK, GM, GN } }) => {
    const elements = (Math.min(parts, 2) * TM! + (Math.max(parts, 2) - 1) * TN!) * (BK! + 8);
    const used = (componentType === "f32" ? 4 : 2) * elements + 4 * GM! * GN! * M * N;
    const wide = GM! * GN! * gpu.subgroups.size!; // each thread brings whole shares of 16 elements
    return used <= bytes && wide <= threads && (TM! * BK!) % (16 * wide) === 0 && (TN! * BK!) % (16 * wide) === 0;
  });
}

/** Products on matrix units (subgroup matrices). */
export const GEMMS = {
  /** Of many rows. */
  gemm_subgroup_matrix: {
    needs: { features: [SUBGROUP_MATRIX], device: (gpu, shape) => matrixTiles(gpu, shape).length > 0 },
    plan(gpu, shape) {
      const { M, N, K, componentType } = matrixOf(gpu)!;
      const PRODUCTS = products(matrixOf(gpu)!, shape);
      return gemm(shape, matrixTiles(gpu, shape), {
        source: { shader: "matmul.gemm_subgroup_matrix" },
        libs: [{ code: `alias Real = ${componentType};\n` }],
        directives: matrixDirectives(componentType),
        consts: { M, N, K, WIDTH: gpu.subgroups.size!, PRODUCTS, SHRINK: PRODUCTS > 1 && !shape.bounded },
      });
    },
  },
  /** Exact for up to 8 rows: of q4, whose codes take GEMV kernels longer to turn into floats for each of many rows than to read. */
  gemv_subgroup_matrix: {
    needs: {
      features: [SUBGROUP_MATRIX],
      formats: ["q4"],
      subgroupSize: [32],
      invocations: 128,
      workgroupBytes: 20224,
      device: (gpu) => matrixOf(gpu)?.size === "16x16x16",
    },
    plan: (_, { bounded }) => ({
      source: { shader: "matmul.gemv_subgroup_matrix" },
      libs: ["lib/gemm"],
      directives: matrixDirectives("f16"),
      reader: "lib/block.q4",
      consts: { EVEN: true, SHRINK: !bounded },
      tiles: [{ rows: 8, columns: 64, consts: {} }],
      columns: 64,
      rows: 8,
    }),
  },
} satisfies Record<string, MatmulKernel>;
