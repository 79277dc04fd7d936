import { EngineError } from "../errors.ts";
import { type Bindable, bindingOf } from "../tensor/tensor.ts";
import type { Counters } from "./counters.ts";
import type { Wait } from "./pacing.ts";

/** A line of the ledger: who holds how much. */
export interface LedgerEntry {
  label: string;
  bytes: number;
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const STORAGE = 0x80 | 0x08 | 0x04; // GPUBufferUsage.STORAGE, COPY_DST and COPY_SRC, which a module cannot name before there is WebGPU

/** Every buffer and texture of a device comes from here and stands in the ledger until it is destroyed. */
export class Memory {
  readonly device: GPUDevice;
  /** Whose memory it is, in errors. */
  owner = "the GPU";
  readonly #lostReason: () => string | undefined;
  readonly #wait: Wait;
  readonly #counters: Counters;
  readonly #largest: number;
  readonly #ledger = new Map<GPUBuffer | GPUTexture, LedgerEntry>();

  constructor(device: GPUDevice, lostReason: () => string | undefined, wait: Wait, counters: Counters, largest = Number.POSITIVE_INFINITY) {
    this.device = device;
    this.#wait = wait;
    this.#counters = counters;
    this.#lostReason = lostReason;
    this.#largest = largest;
  }

  /** Bytes held on the GPU. */
  get bytes(): number {
    let sum = 0;
    for (const entry of this.#ledger.values()) sum += entry.bytes;
    return sum;
  }

  /** Every buffer and texture in use, by label. */
  entries(): LedgerEntry[] {
    return [...this.#ledger.values()];
  }

  /** The largest buffer that one binding can hold. */
  get maxBinding(): number {
    return Math.min(this.device.limits.maxStorageBufferBindingSize, this.device.limits.maxBufferSize, this.#largest);
  }

  /**
   * Creates a storage buffer of at least `bytes` bytes (rounded up to 16: shaders read whole vec4s), full of zeros.
   *
   * @throws EngineError limit-exceeded: createBuffer itself does not throw, the error would come later and elsewhere
   */
  create(label: string, bytes: number, usage = STORAGE): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const limit = usage & GPUBufferUsage.STORAGE ? this.maxBinding : this.device.limits.maxBufferSize;
    if (size > limit) {
      throw new EngineError("limit-exceeded", `buffer "${label}" needs ${mebibytes(size)}, this adapter allows ${mebibytes(limit)}`, {
        hint: "use a smaller maxContext or another adapter",
      });
    }
    return this.hold({ label, bytes: size }, () => this.device.createBuffer({ label, size, usage }));
  }

  /** Like `create`, for a caller who fills all of it before anything reads it: it need not be zeroed. */
  createToFill(label: string, bytes: number): GPUBuffer {
    return this.create(label, bytes);
  }

  /** Makes storage and enters it into the ledger. */
  hold<T extends GPUBuffer | GPUTexture>(entry: LedgerEntry, make: () => T): T {
    this.assertAlive();
    this.#counters.buffers++;
    const storage = make();
    this.#ledger.set(storage, entry);
    return storage;
  }

  destroy(storage: GPUBuffer | GPUTexture): void {
    storage.destroy();
    this.#ledger.delete(storage);
  }

  /** Destroys everything. */
  clear(): void {
    for (const buffer of [...this.#ledger.keys()]) this.destroy(buffer);
  }

  /** Runs `work`; what it created and left behind is destroyed afterwards. */
  async temporarily<T>(work: () => Promise<T>): Promise<T> {
    const before = new Set(this.#ledger.keys());
    try {
      return await work();
    } finally {
      for (const buffer of [...this.#ledger.keys()]) if (!before.has(buffer)) this.destroy(buffer);
    }
  }

  /** Runs `work`; what it created is destroyed again if it fails. */
  async wholly<T>(work: () => Promise<T>): Promise<T> {
    const before = new Set(this.#ledger.keys());
    try {
      return await work();
    } catch (error) {
      for (const buffer of [...this.#ledger.keys()]) if (!before.has(buffer)) this.destroy(buffer);
      throw error;
    }
  }

  /** Writes bytes into a buffer. `offset` and the length are multiples of 4. */
  write(to: Bindable, offset: number, data: ArrayBufferView<ArrayBuffer>): void {
    const { buffer, offset: start = 0 } = bindingOf(to);
    this.device.queue.writeBuffer(buffer, start + offset, data.buffer, data.byteOffset, data.byteLength);
  }

  /** Waits until the queue has taken what was written, so that staging copies do not pile up. */
  async flush(): Promise<void> {
    await this.guard(() => this.device.queue.onSubmittedWorkDone());
    this.assertAlive(); // a lost device may call its work done
  }

  /** Reads `bytes` bytes back. @throws EngineError device-lost */
  async read(from: Bindable, offset: number, bytes: number): Promise<ArrayBuffer> {
    return (await this.readAll([{ from, offset, bytes }]))[0]!;
  }

  /** Reads several ranges back at once; offsets are multiples of 4. @throws EngineError device-lost */
  async readAll(ranges: readonly { from: Bindable; offset: number; bytes: number }[]): Promise<ArrayBuffer[]> {
    this.assertAlive();
    this.#counters.awaitedReadbacks++;
    const padded = (bytes: number) => Math.ceil(bytes / 4) * 4;
    const total = ranges.reduce((sum, { bytes }) => sum + padded(bytes), 0);
    const staging = this.create("readback", total, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    try {
      const encoder = this.device.createCommandEncoder();
      let at = 0;
      for (const { from, offset, bytes } of ranges) {
        const { buffer, offset: start = 0 } = bindingOf(from);
        encoder.copyBufferToBuffer(buffer, start + offset, staging, at, padded(bytes));
        at += padded(bytes);
      }
      this.device.queue.submit([encoder.finish()]);
      await this.guard(() => staging.mapAsync(GPUMapMode.READ));
      const mapped = staging.getMappedRange(0, total);
      at = 0;
      return ranges.map(({ bytes }) => {
        const copy = mapped.slice(at, at + bytes);
        at += padded(bytes);
        return copy;
      });
    } finally {
      this.destroy(staging);
    }
  }

  /** Runs something that allocates under error scopes: what fails on the GPU's side is an error here, not later. */
  async scoped<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.assertAlive();
    this.device.pushErrorScope("out-of-memory");
    this.device.pushErrorScope("validation");
    const [outcome] = await Promise.allSettled([work()]);
    const validation = await this.#wait(() => this.device.popErrorScope());
    const outOfMemory = await this.#wait(() => this.device.popErrorScope());
    if (outcome.status === "rejected") throw outcome.reason;
    if (outOfMemory) {
      throw new EngineError("out-of-memory", `${what}: ${this.owner} has no room beside the ${mebibytes(this.bytes)} in use`, {
        hint: "use a smaller maxContext or a smaller weight format",
        cause: outOfMemory,
      });
    }
    if (validation) throw new EngineError("limit-exceeded", `${what}: ${validation.message}`, { cause: validation });
    return outcome.value;
  }

  /** @throws EngineError device-lost: work submitted to a lost device would vanish without a word */
  assertAlive(): void {
    const reason = this.#lostReason();
    if (reason !== undefined) throw this.#lost(reason);
  }

  /** Starts and awaits work of the device; what fails because the device was lost is reported as `device-lost`. */
  async guard<T>(start: () => Promise<T>): Promise<T> {
    try {
      return await this.#wait(start);
    } catch (error) {
      // A lost device fails its work before it says that it is lost.
      if (this.#lostReason() === undefined) await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, 20))]);
      const reason = this.#lostReason();
      throw reason === undefined ? error : this.#lost(reason, error);
    }
  }

  #lost(reason: string, cause?: unknown): EngineError {
    const whose = this.owner === "the GPU" ? "the GPU device" : this.owner;
    return new EngineError("device-lost", `${whose} was lost (${reason})`, { hint: "load the model again", cause });
  }
}
