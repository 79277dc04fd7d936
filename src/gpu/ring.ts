import type { Gpu } from "./device.ts";

/** Words on their way back from the GPU. Whether somebody waits for them or not, their buffer is free again afterwards. */
export interface Ticket {
  /** @throws EngineError device-lost */
  words: Promise<Uint32Array>;
}

/**
 * Buffers through which small results come back, some steps behind the GPU: nothing is created for a readback, and nothing has to be
 * waited for before the next step is submitted.
 */
export class ReadRing {
  readonly #gpu: Gpu;
  readonly #bytes: number;
  readonly #buffers: GPUBuffer[];
  readonly #free: GPUBuffer[];
  readonly #pending = new Set<Promise<unknown>>();

  /** @param bytes of one readback, a multiple of 4 */
  constructor(gpu: Gpu, depth: number, bytes: number) {
    this.#gpu = gpu;
    this.#bytes = bytes;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.#buffers = Array.from({ length: depth }, () => gpu.memory.create("readback ring", bytes, usage));
    this.#free = [...this.#buffers];
  }

  /** How many readbacks can be submitted now. */
  get free(): number {
    return this.#free.length;
  }

  /** Waits until a buffer is free. */
  async room(): Promise<void> {
    while (this.#free.length === 0 && this.#pending.size > 0) await Promise.race(this.#pending);
    this.#gpu.memory.assertAlive();
  }

  /**
   * Calls `run` with a command that copies the first `bytes` of `from`, for the end of the command buffer that it submits: at once, or when what it
   * returns is done. Needs a free buffer.
   */
  submit(from: GPUBuffer, run: (copy: (encoder: GPUCommandEncoder) => void) => Promise<void> | undefined, bytes = this.#bytes): Ticket {
    const buffer = this.#free.pop();
    if (!buffer) throw new Error("no buffer of the readback ring is free");
    const submitted = run((encoder) => encoder.copyBufferToBuffer(from, 0, buffer, 0, bytes));
    const words = this.#take(buffer, bytes, submitted);
    words.catch(() => {}); // told to whoever asks the ticket; nobody may
    const settled = words.then(
      () => {},
      () => {},
    );
    this.#pending.add(settled);
    settled.then(() => this.#pending.delete(settled));
    return { words };
  }

  async #take(buffer: GPUBuffer, bytes: number, submitted: Promise<void> | undefined): Promise<Uint32Array> {
    await submitted;
    await this.#gpu.memory.guard(() => buffer.mapAsync(GPUMapMode.READ, 0, bytes));
    const words = new Uint32Array(buffer.getMappedRange(0, bytes)).slice();
    buffer.unmap();
    this.#free.push(buffer);
    return words;
  }

  /** Frees the buffers; what is pending is dropped. */
  dispose(): void {
    for (const buffer of this.#buffers) this.#gpu.memory.destroy(buffer);
    this.#free.length = 0;
  }
}
