import { afterAll, beforeAll, expect } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";

/** Opens a device before the tests of a file or of a `describe`, hands it to `take`, and closes it behind them. */
export function useGpu(take: (gpu: Gpu) => void, check: (gpu: Gpu) => void = () => {}): void {
  let gpu: Gpu | undefined;
  beforeAll(async () => {
    gpu = await openGpu();
    take(gpu);
  });
  afterAll(() => {
    if (gpu) check(gpu);
    gpu?.close();
  });
}

/** The same, and whatever became of the tests: nothing of them may be left in the device's memory. */
export const useCleanGpu = (take: (gpu: Gpu) => void): void => useGpu(take, ({ memory }) => expect(memory.entries()).toEqual([]));
