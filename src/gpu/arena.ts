import type { Bindable } from "../tensor/tensor.ts";
import { type Memory, TEXELS_WIDE } from "./memory.ts";

/** Where a program's activations come from: the arena, or the test harness's guarded buffers. */
export interface Scratch {
  /** Storage of at least `bytes` bytes, until the scope around ends. Its content is undefined. */
  take(bytes: number): Bindable;
  /** The same as a texture of at least `count` vec4s (`Memory.createTexels`). */
  takeTexels(count: number): GPUTexture;
  /** Runs `record`; what it took is given back afterwards. */
  scope<T>(record: () => T): T;
}

/** Scratch things of one kind by their size: taken until a scope ends, then free for others. */
class Pool<T> {
  readonly #make: (size: number) => T;
  readonly #free: { thing: T; size: number }[] = [];
  #taken: { thing: T; size: number }[] = [];

  constructor(make: (size: number) => T) {
    this.#make = make;
  }

  /** The smallest free one that is large enough, or a new one. */
  take(size: number): T {
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      if (this.#free[i]!.size >= size && (best < 0 || this.#free[i]!.size < this.#free[best]!.size)) best = i;
    }
    const slot = best < 0 ? { thing: this.#make(size), size } : this.#free.splice(best, 1)[0]!;
    this.#taken.push(slot);
    return slot.thing;
  }

  /** Runs `record`; what it took is free afterwards. */
  scope<R>(record: () => R): R {
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

/**
 * Scratch storage shared by all programs of a model. Programs never run at the same time, so they may all use the same;
 * within a program, what a scope took is free again after it.
 */
export class Arena implements Scratch {
  readonly #buffers: Pool<GPUBuffer>;
  readonly #texels: Pool<GPUTexture>;

  constructor(memory: Memory) {
    this.#buffers = new Pool((bytes) => memory.create("activations", bytes));
    this.#texels = new Pool((count) => memory.createTexels("activations in texels", count));
  }

  take(bytes: number): GPUBuffer {
    return this.#buffers.take(bytes);
  }

  takeTexels(count: number): GPUTexture {
    return this.#texels.take(Math.ceil(count / TEXELS_WIDE) * TEXELS_WIDE); // whole rows are made: so may others use them
  }

  scope<T>(record: () => T): T {
    return this.#buffers.scope(() => this.#texels.scope(record));
  }
}
