import { newCounters } from "../../src/gpu/counters.ts";
import * as device from "../../src/gpu/device.ts";
import { pacingOf } from "../../src/gpu/pacing.ts";

export * from "../../src/gpu/device.ts";

type Storage = new (...args: ConstructorParameters<typeof import("../../src/gpu/memory.ts").Memory>) => device.Gpu["memory"];

const isPlain = (value: object): boolean => Object.getPrototypeOf(value) === Object.prototype;

let shared: Promise<device.Gpu> | undefined;

/**
 * Takes the place of `gpu/device.ts` in parts of the tests that do not look at the device's life (vitest.config.ts): all models of a process get one
 * device, whose pipelines are compiled once, with memory of their own on it. One that a test destroys is opened anew for the next.
 */
export const openGpu: typeof device.openGpu = async (choice) => {
  const given = choice instanceof Object && (!isPlain(choice) || Object.values(choice).some((each) => each !== undefined));
  if (given) return device.openGpu(choice);
  const current = shared;
  const before = await current?.catch(() => undefined);
  if ((!before || before.lostReason() !== undefined) && shared === current) shared = device.openGpu();
  const gpu = await shared!;
  const counters = newCounters();
  const memory = new (gpu.memory.constructor as Storage)(gpu.device, gpu.lostReason, pacingOf(gpu.kind), counters);
  return { ...gpu, memory, counters, close: () => memory.clear() };
};
