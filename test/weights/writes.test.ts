import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { Writes } from "../../src/weights/writes.ts";

const KIB = 2 ** 10;

describe("writes to new buffers", () => {
  let gpu: Gpu;
  beforeEach(async () => {
    gpu = await openGpu();
  });
  afterEach(() => gpu.close());

  /** Words of a piece that are looked at: its first, one in its middle, its last. */
  const wordsOf = (bytes: number): number[] => [0, Math.floor(bytes / 8), bytes / 4 - 1];

  const markOf = (buffer: number, at: number, word: number): number => 2 ** 24 * buffer + at / 4 + word;

  /** Writes to buffers of these sizes, each in pieces of at most 20 MiB out of one array, and holds what they have then to what they should. */
  async function fill(on: Gpu, sizes: readonly number[]): Promise<{ written: Set<GPUBuffer>; copied: Set<GPUBuffer> }> {
    const write = vi.spyOn(gpu.memory, "write");
    const copy = vi.spyOn(gpu.memory, "copy");
    const buffers = sizes.map((size, i) => gpu.memory.createToFill(`target ${i}`, size));
    const array = new Uint8Array(20 * KIB * KIB);
    const writes = new Writes(on);
    for (const [i, size] of sizes.entries()) {
      for (let at = 0; at < size; at += array.length) {
        const piece = array.subarray(0, Math.min(array.length, size - at));
        for (const word of wordsOf(piece.length)) new Uint32Array(array.buffer)[word] = markOf(i, at, word);
        await writes.write(buffers[i]!, at, piece);
        array.fill(0xff); // as a read would
      }
    }
    await writes.close();
    for (const [i, size] of sizes.entries()) {
      for (let at = 0; at < size; at += array.length) {
        for (const word of wordsOf(Math.min(array.length, size - at)))
          expect(new Uint32Array(await gpu.memory.read(buffers[i]!, at + 4 * word, 4))).toEqual(Uint32Array.of(markOf(i, at, word)));
      }
    }
    expect(gpu.memory.entries().map(({ label }) => label)).toEqual(sizes.map((_, i) => `target ${i}`)); // nothing else is left
    const targets = new Set<unknown>(buffers);
    const of = (all: unknown[]) => new Set(all.filter((to) => targets.has(to)) as GPUBuffer[]);
    return { written: of(write.mock.calls.map(([to]) => to)), copied: of(copy.mock.calls.map(([, to]) => to)) };
  }

  const SIZES = [300 * KIB, 1024, 4, 19 * KIB * KIB + 4, 800 * KIB, 49 * KIB * KIB, 256 * KIB, 256 * KIB, 256 * KIB, 256 * KIB];

  it("arrive, whichever thread makes them; each buffer is filled by one", async () => {
    const { written, copied } = await fill(gpu, SIZES);
    expect(written.size + copied.size).toBe(SIZES.length);
    for (const buffer of copied) {
      expect(written).not.toContain(buffer);
      expect(buffer.size).toBeGreaterThanOrEqual(256 * KIB);
      expect(buffer.size).toBeLessThanOrEqual(48 * KIB * KIB);
    }
    if (gpu.software) expect(copied.size).toBeGreaterThan(0);
    else expect(copied.size).toBe(0);
  });

  it("are handed to the queue on an adapter that has its own memory", async () => {
    const hardware = { memory: gpu.memory, software: false } as Gpu;
    const { written, copied } = await fill(hardware, SIZES);
    expect(copied.size).toBe(0);
    expect(written.size).toBe(SIZES.length);
  });

  it("end with an error where the device is lost, and nothing of theirs is left", async () => {
    const target = gpu.memory.createToFill("target", KIB * KIB);
    const writes = new Writes({ memory: gpu.memory, software: true } as Gpu);
    await writes.write(target, 0, new Uint8Array(KIB * KIB));
    vi.spyOn(gpu.memory, "flush").mockRejectedValue(new Error("lost"));
    await writes.write(target, 0, new Uint8Array(KIB * KIB));
    await expect(writes.close()).rejects.toThrow("lost");
    expect(gpu.memory.entries().map(({ label }) => label)).toEqual(["target"]);
  });
});
