import type { Gpu } from "../gpu/device.ts";
import type { Library } from "../gpu/kernel.ts";
import type { MatrixConfig } from "../gpu/subgroups.ts";
import { GROUP, isQuantized } from "../tensor/tensor.ts";
import { type MatmulKernel, type MatmulPlan, type MatmulShape, QUANTIZED } from "./matmul-kernels.ts";
import type { Tile } from "./matmul-tiles.ts";
import type { Shape } from "./needs.ts";

const tile = (rows: number, columns: number, consts: Readonly<Record<string, number>>): Tile => ({ rows, columns, consts });

/** A tile of kernels that take its size as constants. */
const sized = (TM: number, TN: number, consts: Readonly<Record<string, number>>): Tile => tile(TM, TN, { TM, TN, ...consts });

/** What all GEMM kernels have: how weights of the format are read, and the smallest tile's size. */
function gemm(
  { dtype, k }: MatmulShape,
  tiles: readonly Tile[],
  plan: Pick<MatmulPlan, "source" | "consts"> & Partial<MatmulPlan>,
): MatmulPlan {
  const EVEN = k % GROUP === 0;
  const wide = EVEN && (isQuantized(dtype) || dtype === "bf16");
  const reader: Library = wide ? `lib/share.${dtype as "q8" | "q4" | "bf16"}` : `lib/weight.${dtype}`;
  const { columns, rows } = tiles.at(-1)!;
  const libs: Library[] = [...(plan.libs ?? []), ...(wide ? [] : ["lib/share.any" as const]), "lib/gemm"];
  return { tiles, columns, rows, ...plan, libs, reader, consts: { EVEN, ...plan.consts } };
}

const PLAIN = [sized(128, 128, { BK: 16 }), sized(128, 64, { BK: 16 }), sized(64, 64, { BK: 32 })];
const DOT4 = [tile(128, 64, { TM: 128 }), tile(64, 64, { TM: 64 })];

interface Fragments {
  type: "f16" | "f32";
  size: string;
  tiles: readonly Tile[];
  /** Products for an operand (below) that registers hold without spills, where not any number. */
  most?: number;
}

/** Fragments that the subgroup-matrix kernel takes, with the tiles whose results fit the registers of the GPUs that have them. */
const MATRIX_TILES: readonly Fragments[] = [
  { type: "f16", size: "16x16x16", tiles: [sized(128, 128, { BK: 32, GM: 2, GN: 4 }), sized(64, 64, { BK: 32, GM: 2, GN: 2 })] }, // AMD, NVIDIA
  { type: "f16", size: "8x16x16", tiles: [sized(64, 64, { BK: 32, GM: 4, GN: 2 })] }, // Intel Xe2
  { type: "f16", size: "8x8x16", tiles: [sized(64, 64, { BK: 32, GM: 4, GN: 4 })], most: 2 }, // Intel Arc A
  { type: "f32", size: "8x8x8", tiles: [sized(64, 64, { BK: 32, GM: 2, GN: 2 })] }, // Apple: f16 is no faster
];

export const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix";

/** The adapter's fragments that kernels on matrix units take. */
export function matrixOf({ matrixSyntax, subgroups }: Gpu): (MatrixConfig & Fragments) | undefined {
  if (!matrixSyntax || subgroups.size === undefined) return undefined;
  for (const each of MATRIX_TILES) {
    const config = subgroups.matrices.find(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === each.type && resultComponentType === "f32" && `${M}x${N}x${K}` === each.size,
    );
    if (config) return { ...config, ...each };
  }
  return undefined;
}

export const matrixDirectives = (componentType: string): string[] => [
  ...(componentType === "f16" ? ["enable f16;"] : []),
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
  // Which subgroup a thread is in follows from its index; the analysis cannot know that this is the same for all of it.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
  "diagnostic(off, subgroup_uniformity);",
];

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

/** Matrix times many rows of x. */
export const GEMMS = {
  /** f32 tiles by way of workgroup memory. */
  gemm_tile: {
    needs: { invocations: 256, workgroupBytes: 16384 },
    plan: (_, shape) => gemm(shape, PLAIN, { source: { shader: "matmul.gemm_tile" } }),
  },
  /** On matrix units (subgroup matrices). */
  gemm_subgroup_matrix: {
    needs: {
      features: [SUBGROUP_MATRIX],
      device: (gpu, shape) => matrixTiles(gpu, shape).length > 0,
    },
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
  /** On matrix units, exact for up to 8 rows: of q4, whose codes take GEMV kernels longer to turn into floats for each of many rows than to read. */
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
      tiles: [tile(8, 64, {})],
      columns: 64,
      rows: 8,
    }),
  },
  /** Activations in 8 bits: dot4I8Packed makes four products an instruction. Apple's GPUs emulate it. */
  gemm_dot4: {
    needs: {
      precision: "fast",
      formats: QUANTIZED,
      invocations: 256,
      workgroupBytes: 9984,
      storageBuffers: 8,
      device: ({ vendor }) => vendor !== "apple",
    },
    plan: (_, shape) => gemm(shape, DOT4, { source: { shader: "matmul.gemm_dot4" }, codes: true }),
  },
} satisfies Record<string, MatmulKernel>;
