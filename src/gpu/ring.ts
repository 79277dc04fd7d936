import type { Gpu } from "./device.ts";

/** Words on their way back from the GPU. Whether somebody waits for them or not, their buffer is free again afterwards. */
export interface Ticket {
  /** @throws EngineError device-lost */
  words: Promise<Uint32Array>;
}

/**
 * Buffers through which small results come back, some steps behind the GPU: nothing is created for a readback, and nothing has to be
 * waited for before the next step is submitted.
 *
 * @param bytes of one readback, a multiple of 4
 */
export function readRing({ memory }: Gpu, depth: number, bytes: number) {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const free = Array.from({ length: depth }, () => memory.create("readback ring", bytes, usage));
  const pending = new Set<Promise<unknown>>();

  async function take(buffer: GPUBuffer, count: number, submitted: Promise<void> | undefined): Promise<Uint32Array> {
    await submitted;
    await memory.guard(() => buffer.mapAsync(GPUMapMode.READ, 0, count));
    const words = new Uint32Array(buffer.getMappedRange(0, count)).slice();
    buffer.unmap();
    free.push(buffer);
    return words;
  }

  return {
    /** How many readbacks can be submitted now. */
    get free(): number {
      return free.length;
    },
    /** Waits until a buffer is free. */
    async room(): Promise<void> {
      while (free.length === 0 && pending.size > 0) await Promise.race(pending);
      memory.assertAlive();
    },
    /**
     * Calls `run` with a command that copies the first `count` bytes of `from`, for the end of the command buffer that it submits: at once, or when
     * what it returns is done. Needs a free buffer.
     */
    submit(from: GPUBuffer, run: (copy: (encoder: GPUCommandEncoder) => void) => Promise<void> | undefined, count = bytes): Ticket {
      const buffer = free.pop();
      if (!buffer) throw new Error("no buffer of the readback ring is free");
      const submitted = run((encoder) => encoder.copyBufferToBuffer(from, 0, buffer, 0, count));
      const words = take(buffer, count, submitted);
      const settled = words.then(
        () => {},
        () => {}, // told to whoever asks the ticket; nobody may
      );
      pending.add(settled);
      settled.then(() => pending.delete(settled));
      return { words };
    },
  };
}

/** Buffers that bring results back to the CPU, several on their way at once. */
export type ReadRing = ReturnType<typeof readRing>;
