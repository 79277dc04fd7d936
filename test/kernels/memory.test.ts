import { expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { POISON } from "../../src/harness/guard.ts";
import { useGpu } from "../shared/gpu.ts";

let gpu: Gpu;
useGpu((opened) => {
  gpu = opened;
});

// Small buffers, whose memory Dawn takes from what others gave back.
it("gives zeros, whatever lay there before", async () => {
  const { memory } = gpu;
  const words = new Uint32Array(1024).fill(POISON);
  for (let round = 0; round < 20; round++) {
    const used = memory.create("used", words.byteLength);
    memory.write(used, 0, words);
    await memory.flush();
    memory.destroy(used);
    gpu.device.queue.submit([]);
    await memory.flush(); // only then is the memory free
    const fresh = memory.create("fresh", words.byteLength);
    expect(new Set(new Uint32Array(await memory.read(fresh, 0, words.byteLength)))).toEqual(new Set([0]));
    memory.destroy(fresh);
    const odd = memory.createToFill("to fill", words.byteLength - 4);
    memory.write(odd, 0, words.subarray(1));
    const [last] = new Uint32Array(await memory.read(odd, words.byteLength - 4, 4));
    expect(last).toBe(0);
    memory.destroy(odd);
  }
});
