import { newCounters } from "../../src/gpu/counters.ts";
import type * as device from "../../src/gpu/device.ts";
import { pacingOf } from "../../src/gpu/pacing.ts";

type Device = typeof device;

/**
 * `gpu/device.ts` for files that load many models: all get one device, whose pipelines are compiled once, with memory of their own on it. It is
 * for `vi.mock` of files that do not look at the device's life.
 */
export async function oneDevice(original: () => Promise<unknown>): Promise<Device> {
  const actual = (await original()) as Device;
  let shared: Promise<device.Gpu> | undefined;
  const openGpu: Device["openGpu"] = async (choice) => {
    if (choice && Object.values(choice).some((each) => each !== undefined)) return actual.openGpu(choice);
    shared ??= actual.openGpu();
    const gpu = await shared;
    const counters = newCounters();
    const Storage = gpu.memory.constructor as new (
      ...args: ConstructorParameters<typeof import("../../src/gpu/memory.ts").Memory>
    ) => typeof gpu.memory;
    const memory = new Storage(gpu.device, gpu.lostReason, pacingOf(gpu.kind), counters);
    return { ...gpu, memory, counters, close: () => memory.clear() };
  };
  return { ...actual, openGpu };
}
