import type { Gpu } from "../gpu/device.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";

/**
 * How exact a product must be.
 * - f32: nothing but f32 rounding. The default.
 * - f16: both operands may be rounded to f16 (relative error about 5e-4 a product; what exceeds 65504 becomes infinite). Un-normed
 *   activations of Qwen2.5 do not bear it.
 * - q8: besides, with q8 or q4 weights, the activations may be rounded to 8 bits per group of 32: the result's relative L2 error
 *   stays below 0.015 for activations without outliers.
 */
export type MatmulPrecision = "f32" | "f16" | "q8";

const LOOSENESS: readonly MatmulPrecision[] = ["f32", "f16", "q8"];

/** What a kernel needs; what it does not name it needs not. */
export interface Needs {
  features?: readonly string[];
  /** That every subgroup has the same number of lanes, or one of these numbers. */
  subgroupSize?: "fixed" | readonly number[];
  /** Invocations, and bytes of memory, of a workgroup. */
  invocations?: number;
  workgroupBytes?: number;
  storageBuffers?: number;
  /** Formats of weights that it reads. */
  formats?: readonly MatrixDtype[];
  /** Of heads, of rows: what the width must be a multiple of. */
  widthMultipleOf?: number;
  /** Permission to lose precision. */
  precision?: MatmulPrecision;
  /** What else a device must have. */
  device?(gpu: Gpu): boolean;
}

/** The shape that an op is asked for; a property that is absent rules nothing out. */
export interface Shape {
  /** At most. */
  rows?: number | undefined;
  width?: number | undefined;
  dtype?: MatrixDtype | undefined;
  precision?: MatmulPrecision | undefined;
}

/** Whether a device and a shape have what a kernel needs. */
export function meets(gpu: Gpu, needs: Needs, { width, dtype, precision = "f32" }: Shape): boolean {
  const { limits, features } = gpu.device;
  const size = needs.subgroupSize && gpu.subgroups.size;
  return (
    (needs.features ?? []).every((feature) => features.has(feature as GPUFeatureName)) &&
    (!needs.subgroupSize || (size !== undefined && (needs.subgroupSize === "fixed" || needs.subgroupSize.includes(size as number)))) &&
    limits.maxComputeInvocationsPerWorkgroup >= (needs.invocations ?? 0) &&
    limits.maxComputeWorkgroupStorageSize >= (needs.workgroupBytes ?? 0) &&
    limits.maxStorageBuffersPerShaderStage >= (needs.storageBuffers ?? 0) &&
    (!dtype || !needs.formats || needs.formats.includes(dtype)) &&
    (!width || width % (needs.widthMultipleOf ?? 1) === 0) &&
    LOOSENESS.indexOf(needs.precision ?? "f32") <= LOOSENESS.indexOf(precision) &&
    needs.device?.(gpu) !== false
  );
}
