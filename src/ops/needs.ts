import type { Gpu } from "../gpu/device.ts";
import type { Precision } from "../gpu/program.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";

const LOOSENESS: readonly Precision[] = ["exact", "auto", "fast"];

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
  precision?: Precision;
  /** What else a device must have for a shape. */
  device?(gpu: Gpu, shape: Shape): boolean;
}

/** The shape that an op is asked for; a property that is absent rules nothing out. */
export interface Shape {
  /** At most. */
  rows?: number | undefined;
  width?: number | undefined;
  dtype?: MatrixDtype | undefined;
  precision?: Precision | undefined;
  /** Of a product: that x is of moderate size, as what comes out of a norm is: it may be rounded to f16 where precision is not exact. */
  bounded?: boolean | undefined;
}

/** Whether a device and a shape have what a kernel needs. */
export function meets(gpu: Gpu, needs: Needs, shape: Shape): boolean {
  const { width, dtype, precision = "exact" } = shape;
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
    LOOSENESS.indexOf(needs.precision ?? "exact") <= LOOSENESS.indexOf(precision) &&
    needs.device?.(gpu, shape) !== false
  );
}
