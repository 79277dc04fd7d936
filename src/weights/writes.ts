import type { Gpu } from "../gpu/device.ts";
import { type Bindable, bindingOf } from "../tensor/tensor.ts";

/** Bytes that go to the adapter's thread at once, and how many times so many are under way. */
const SLOT_BYTES = 8 * 2 ** 20;
const SLOTS = 3;

/** Below it, handing a copy over costs more than making it. */
const LEAST_BYTES = 256 * 2 ** 10;

/** Above it a buffer would keep the adapter's thread from taking others: it is written here, and those behind it there. */
const MOST_BYTES = 48 * 2 ** 20;

interface Slot {
  buffer: GPUBuffer;
  /** Until the copy out of it is done; undefined afterwards. */
  copying: Promise<void> | undefined;
}

/**
 * Writes to buffers that have just been created. On adapters that compute on the CPU that takes nearly all of a load's time, since a write
 * copies at once, on this thread, to pages which nobody has touched yet. There the adapter's own thread, which has nothing to do meanwhile,
 * fills some of the buffers: it copies them out of small ones that are written here again and again. A buffer is filled by one thread only:
 * what the adapter has written to, Dawn writes to by way of further memory. Elsewhere writes are handed to the queue as they are.
 */
export class Writes {
  readonly #gpu: Gpu;
  readonly #slots: Slot[] = [];
  /** Whether the adapter's thread fills a buffer. */
  readonly #handed = new Map<Bindable, boolean>();
  #next = 0;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** As `Memory.write`; the bytes may be overwritten when it is done. @throws EngineError device-lost */
  async write(target: Bindable, offset: number, data: Uint8Array<ArrayBuffer>): Promise<void> {
    if (!this.#isHanded(target, data.length)) return this.#gpu.memory.write(target, offset, data);
    for (let at = 0; at < data.length; at += SLOT_BYTES) await this.#hand(target, offset + at, data.subarray(at, at + SLOT_BYTES));
  }

  #isHanded(target: Bindable, bytes: number): boolean {
    const known = this.#handed.get(target);
    if (known !== undefined) return known;
    const { buffer } = bindingOf(target);
    const idle = this.#slots.length < SLOTS || this.#slots[this.#next]!.copying === undefined;
    const handed = this.#gpu.software && bytes >= LEAST_BYTES && buffer.size <= MOST_BYTES && idle;
    this.#handed.set(target, handed);
    return handed;
  }

  async #hand(target: Bindable, offset: number, data: Uint8Array<ArrayBuffer>): Promise<void> {
    const { memory } = this.#gpu;
    const slot = (this.#slots[this.#next] ??= { buffer: memory.createToFill("weights on their way", SLOT_BYTES), copying: undefined });
    this.#next = (this.#next + 1) % SLOTS;
    await slot.copying;
    memory.write(slot.buffer, 0, data);
    memory.copy(slot.buffer, target, offset, data.length);
    const copying = memory.flush().then(() => {
      slot.copying = undefined;
    });
    copying.catch(() => {}); // told when it is awaited
    slot.copying = copying;
  }

  /** Waits for what is under way, and frees the small buffers. @throws EngineError device-lost */
  async close(): Promise<void> {
    try {
      for (const { copying } of this.#slots) await copying;
    } finally {
      for (const { buffer } of this.#slots) this.#gpu.memory.destroy(buffer);
      this.#slots.length = 0;
    }
  }
}
