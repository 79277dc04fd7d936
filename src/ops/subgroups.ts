import type { Gpu } from "../gpu/device.ts";

/** The size of every subgroup; undefined where there are none or where it varies. */
export function subgroupSize({ device }: Gpu): number | undefined {
  const { subgroupMinSize: min, subgroupMaxSize: max } = device.adapterInfo ?? {};
  return device.features.has("subgroups") && min === max ? min : undefined;
}

/** Whether the kernels that multiply panels (lib panels) run here. */
export const hasPanels = (gpu: Gpu): boolean => gpu.readsTexels && subgroupSize(gpu) === 8;
