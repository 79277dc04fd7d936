import type { Bindable } from "../tensor/tensor.ts";
import type { Memory } from "./memory.ts";

/** Where a program's activations come from: the arena, or the test harness's guarded buffers. */
export interface Scratch {
  /** Storage of at least `bytes` bytes, until the scope around ends. Its content is undefined. */
  take(bytes: number): Bindable;
  /** Runs `record`; what it took is given back afterwards. */
  scope<T>(record: () => T): T;
}

/**
 * Scratch buffers shared by all programs of a model. Programs never run at the same time, so they may all use the same ones;
 * within a program, what a scope took is free again after it.
 */
export class Arena implements Scratch {
  readonly #memory: Memory;
  readonly #free: { buffer: GPUBuffer; bytes: number }[] = [];
  #taken: { buffer: GPUBuffer; bytes: number }[] = [];

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  take(bytes: number): GPUBuffer {
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      if (this.#free[i]!.bytes >= bytes && (best < 0 || this.#free[i]!.bytes < this.#free[best]!.bytes)) best = i;
    }
    const slot = best < 0 ? { buffer: this.#memory.create("activations", bytes), bytes } : this.#free.splice(best, 1)[0]!;
    this.#taken.push(slot);
    return slot.buffer;
  }

  scope<T>(record: () => T): T {
    const outer = this.#taken;
    this.#taken = [];
    try {
      return record();
    } finally {
      this.#free.push(...this.#taken);
      this.#taken = outer;
    }
  }
}
