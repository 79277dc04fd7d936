import type { Gpu } from "../gpu/device.ts";
import type { KernelSpec } from "../gpu/kernel.ts";
import type { ShaderName } from "../gpu/shaders.gen.ts";
import { GROUP, isQuantized, type MatrixDtype } from "../tensor/tensor.ts";
import { hasPanels, subgroupSize } from "./subgroups.ts";

/**
 * How exact a product must be.
 * - f32: nothing but f32 rounding. The default.
 * - f16: both operands may be rounded to f16 (relative error about 5e-4 a product; what exceeds 65504 becomes infinite). Un-normed
 *   activations of Qwen2.5 do not bear it.
 * - q8: besides, with q8 or q4 weights, the activations may be rounded to 8 bits per group of 32: the result's relative L2 error
 *   stays below 0.015 for activations without outliers.
 */
export type MatmulPrecision = "f32" | "f16" | "q8";

export const MATMUL_VARIANTS = [
  "thread",
  "columns",
  "rows",
  "block",
  "lanes",
  "panels",
  "vector",
  "subgroup",
  "tiled",
  "wide",
  "half",
  "matrix",
  "packed",
] as const;
export type MatmulVariant = (typeof MATMUL_VARIANTS)[number];

/** What a dispatch of a variant needs to know beside the operands. */
export interface MatmulKernel {
  shader: ShaderName;
  /** After lib/step, lib/weight.* and lib/matmul. */
  libs: readonly ShaderName[];
  directives?: KernelSpec["directives"];
  consts: Readonly<Record<string, number | boolean>>;
  /** The library that reads the weights, where it is not lib/weight.* of their format. */
  reader?: ShaderName;
  /** Whether it has a prologue (lib/prologue.*): RMSNorm of the rows of x at no dispatch of its own. */
  prologue?: boolean;
  /** Whether it takes products, made in panels whatever the format was (matmul-panels), and does the epilogue only. */
  finishes?: boolean;
  /** The elements of y that a workgroup makes. */
  columns: number;
  rows: number;
}

interface MatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

/** The fragment size for matmul.matrix: the first configuration f16 → f32 that fits its tiles. */
function matrixConfig(gpu: Gpu): MatrixConfig | undefined {
  const { features, adapterInfo } = gpu.device;
  if (!features.has("chromium-experimental-subgroup-matrix" as GPUFeatureName) || !features.has("shader-f16")) return undefined;
  if (!gpu.matrixSyntax) return undefined;
  const { subgroupMatrixConfigs } = adapterInfo as { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  return [...(subgroupMatrixConfigs ?? [])].find(
    (c) => c.componentType === "f16" && c.resultComponentType === "f32" && 16 % c.M === 0 && 16 % c.N === 0 && 32 % c.K === 0,
  );
}

/** Rows that one pass over the weights serves in the vector kernels: a power of two. */
const rowsAtOnce = (rows: number, width: number): number => Math.min(8, width, 2 ** Math.ceil(Math.log2(Math.max(1, rows))));

/** Columns that a lane of matmul.columns makes. */
export const LANE_COLUMNS = 8;

/** The kernel of a variant for so many rows at most and this K; undefined where this device or format has no such kernel. */
export function matmulKernel(
  gpu: Gpu,
  variant: MatmulVariant,
  dtype: MatrixDtype,
  maxRows: number,
  k: number = GROUP,
): MatmulKernel | undefined {
  const { limits, features } = gpu.device;
  const size = subgroupSize(gpu);
  const fits = (invocations: number, bytes: number) =>
    limits.maxComputeInvocationsPerWorkgroup >= invocations && limits.maxComputeWorkgroupStorageSize >= bytes;
  const plain = { directives: [], consts: {} };
  const span: ShaderName = isQuantized(dtype) ? "lib/span.pair" : "lib/span.quad";
  switch (variant) {
    case "thread":
      return { ...plain, prologue: true, shader: "matmul.thread", libs: [], columns: 128, rows: 1 };
    case "columns":
    case "rows": {
      if (!gpu.software || (size !== 4 && size !== 8)) return undefined;
      const directives = ["enable subgroups;"];
      if (variant === "columns") {
        if (!isQuantized(dtype)) return undefined;
        return {
          directives,
          consts: { COLUMNS: LANE_COLUMNS, EVEN: k % (2 * GROUP) === 0 },
          prologue: true,
          shader: "matmul.columns",
          reader: `lib/group.${dtype}`,
          libs: [`lib/lanes.${size}`],
          columns: LANE_COLUMNS * size,
          rows: 1,
        };
      }
      return { directives, consts: {}, prologue: true, shader: "matmul.rows", libs: [`lib/lanes.${size}`], columns: 2 * size, rows: 8 };
    }
    case "block":
      return { ...plain, shader: "matmul.block", libs: ["lib/tile"], columns: 32, rows: 32 };
    case "lanes": {
      const directives = ["enable subgroups;"];
      if (size === 8) return { directives, consts: {}, shader: "matmul.lanes8", libs: [], columns: 16, rows: 16 };
      if (size === 4) return { directives, consts: {}, shader: "matmul.lanes4", libs: ["lib/tile"], columns: 16, rows: 8 };
      return undefined;
    }
    case "panels":
      if (!hasPanels(gpu)) return undefined;
      return { ...plain, consts: { EACH: 16 }, finishes: true, shader: "matmul.finish", libs: [], columns: 256, rows: 16 };
    case "vector": {
      const consts = { ROWS: rowsAtOnce(maxRows, 64), WIDTH: 64 };
      return {
        ...plain,
        consts,
        prologue: true,
        shader: "matmul.vector",
        libs: [span, "lib/combine.barrier"],
        columns: 4,
        rows: consts.ROWS,
      };
    }
    case "subgroup": {
      if (!features.has("subgroups")) return undefined;
      const width = size ?? 64;
      const consts = { ROWS: rowsAtOnce(maxRows, width), WIDTH: width };
      const libs: ShaderName[] = [span, size ? "lib/combine.subgroup" : "lib/combine.subgroups"];
      return { directives: ["enable subgroups;"], consts, prologue: true, shader: "matmul.vector", libs, columns: 4, rows: consts.ROWS };
    }
    case "tiled":
      return fits(256, 10240) ? { ...plain, shader: "matmul.tiled", libs: ["lib/tile"], columns: 64, rows: 64 } : undefined;
    case "wide":
      return fits(256, 16384)
        ? { ...plain, shader: "matmul.wide", libs: ["lib/tile", "lib/tile.f32"], columns: 128, rows: 128 }
        : undefined;
    case "half":
      if (!features.has("shader-f16") || !fits(256, 8192)) return undefined;
      return {
        directives: ["enable f16;"],
        consts: {},
        shader: "matmul.wide",
        libs: ["lib/tile", "lib/tile.f16"],
        columns: 128,
        rows: 128,
      };
    case "matrix": {
      const config = matrixConfig(gpu);
      if (!config || !size || !fits(4 * size, 14336)) return undefined;
      return {
        directives: [
          "enable f16;",
          "enable subgroups;",
          "enable chromium_experimental_subgroup_matrix;",
          // Which subgroup a thread is in follows from its index; the analysis cannot know that this is the same for all of it.
          "diagnostic(off, chromium.subgroup_matrix_uniformity);",
        ],
        consts: { M: config.M, N: config.N, K: config.K, WIDTH: size },
        shader: "matmul.matrix",
        libs: [gpu.matrixSyntax === "typed" ? "lib/fragments.typed" : "lib/fragments.flag"],
        columns: 64,
        rows: 64,
      };
    }
    case "packed":
      if (!isQuantized(dtype) || !fits(256, 7168) || limits.maxStorageBuffersPerShaderStage < 8) return undefined;
      return { ...plain, shader: "matmul.packed", libs: ["lib/tile", `lib/codes.${dtype}`], columns: 64, rows: 64 };
    default:
      return variant satisfies never;
  }
}

const LOOSE: Readonly<Partial<Record<MatmulVariant, MatmulPrecision>>> = { half: "f16", matrix: "f16", packed: "q8" };

/** The precision that a variant keeps: it runs only where the caller allows it. */
export const precisionOf = (variant: MatmulVariant): MatmulPrecision => LOOSE[variant] ?? "f32";

const LOOSENESS: readonly MatmulPrecision[] = ["f32", "f16", "q8"];

/** Every variant that computes a product of so many rows on this device within the precision. Each is right for any number of rows. */
export const matmulVariants = (gpu: Gpu, dtype: MatrixDtype, rows: number, precision: MatmulPrecision = "f32"): MatmulVariant[] =>
  MATMUL_VARIANTS.filter(
    (variant) =>
      LOOSENESS.indexOf(precisionOf(variant)) <= LOOSENESS.indexOf(precision) && matmulKernel(gpu, variant, dtype, rows) !== undefined,
  );

// Up to this many rows the vector kernels read the weights once and share them; above, tiles do.
const VECTOR_ROWS = 8;

// From this many rows on, putting the weights into panels takes less than it saves.
const PANEL_ROWS = 24;

/** Variants with barriers, which CPU adapters compile for up to a minute and run slowest. */
const WITH_BARRIERS: readonly MatmulVariant[] = ["vector", "tiled", "wide", "half", "packed"];

/** The variants that are worth timing: those that share weights between few rows, or tiles. */
export const candidates = (gpu: Gpu, dtype: MatrixDtype, maxRows: number, precision: MatmulPrecision): MatmulVariant[] =>
  matmulVariants(gpu, dtype, maxRows, precision).filter((variant) => {
    if (gpu.software && WITH_BARRIERS.includes(variant)) return false;
    if (variant === "rows") return maxRows > 1 && maxRows <= 2 * VECTOR_ROWS;
    if (variant === "columns") return maxRows === 1;
    if (variant === "thread" || variant === "vector" || variant === "subgroup") return maxRows <= 2 * VECTOR_ROWS;
    return maxRows > 1;
  });

/**
 * The variant for so many rows at most, by what is known of the adapters: the first that is valid there.
 * CPU adapters (measured on lavapipe and SwiftShader): loads cost lane by lane, and a barrier costs most.
 * GPUs (common practice): matrix units where f16 is allowed, large tiles where they fill the GPU.
 */
export function defaultVariant(gpu: Gpu, dtype: MatrixDtype, maxRows: number, precision: MatmulPrecision): MatmulVariant {
  const few = maxRows <= VECTOR_ROWS;
  const order: readonly MatmulVariant[] = gpu.software
    ? maxRows <= 2
      ? [...(maxRows === 1 ? (["columns"] as const) : []), "subgroup", "thread"]
      : few
        ? ["rows", "thread"]
        : maxRows >= PANEL_ROWS
          ? ["panels", "lanes", "block"]
          : ["lanes", "block"]
    : few
      ? ["subgroup", "vector"]
      : maxRows <= 64
        ? ["matrix", "packed", "tiled", "block"]
        : ["matrix", "packed", "half", "wide", "tiled", "block"];
  const valid = matmulVariants(gpu, dtype, maxRows, precision);
  return order.find((variant) => valid.includes(variant)) ?? "block";
}
