import { type DeviceOptions, type Gpu, openGpu } from "./device.ts";
import type { Memory } from "./memory.ts";

/** Runs work inside what `enter` does on each device. */
function within<T>(
  [gpu, ...others]: readonly Gpu[],
  enter: (memory: Memory, inner: () => Promise<T>) => Promise<T>,
  work: () => Promise<T>,
): Promise<T> {
  return gpu ? enter(gpu.memory, () => within(others, enter, work)) : work();
}

/** `Memory.scoped`, on several devices. */
export const scopedOn = <T>(gpus: readonly Gpu[], what: string, work: () => Promise<T>): Promise<T> =>
  within(gpus, (memory, inner) => memory.scoped(what, inner), work);

/** `Memory.wholly`, on several devices. */
export const whollyOn = <T>(gpus: readonly Gpu[], work: () => Promise<T>): Promise<T> =>
  within(gpus, (memory, inner) => memory.wholly(inner), work);

/** Opens several devices, all or none. Each is called by its place in errors. @throws EngineError as openGpu */
export async function openGpus(choices: readonly (GPUDevice | DeviceOptions)[]): Promise<Gpu[]> {
  const gpus: Gpu[] = [];
  try {
    for (const [i, choice] of choices.entries()) {
      const gpu = await openGpu(choice);
      gpus.push(gpu);
      if (choices.length > 1) gpu.memory.owner = `devices[${i}] (${gpu.adapterName})`;
    }
    return gpus;
  } catch (error) {
    for (const gpu of gpus) gpu.close();
    throw error;
  }
}
