import type { Bindable } from "../tensor/tensor.ts";
import type { Memory } from "./memory.ts";

/** A kind of scratch storage beside buffers (ops/cpu/texture-storage.ts). */
export interface ScratchKind<T extends GPUBuffer | GPUTexture> {
  /** Rounds a size up to the one that is made: storage of equal size can be used again by others. */
  round(size: number): number;
  make(memory: Memory, size: number): T;
}

/** Where a program's activations come from: the arena, or the test harness's guarded buffers. */
export interface Scratch {
  /** Storage of at least `bytes` bytes, until the scope around ends. Its content is undefined. */
  take(bytes: number): Bindable;
  /** The same of another kind, of a size in its own units. */
  takeOther<T extends GPUBuffer | GPUTexture>(kind: ScratchKind<T>, size: number): T;
  /** Runs `record`; what it took is given back afterwards. */
  scope<T>(record: () => T): T;
}

const BUFFERS: ScratchKind<GPUBuffer> = { round: (bytes) => bytes, make: (memory, bytes) => memory.create("activations", bytes) };

interface Slot {
  kind: unknown;
  storage: GPUBuffer | GPUTexture;
  size: number;
}

/**
 * Scratch storage shared by all programs of a model. Programs never run at the same time, so they may all use the same;
 * within a program, what a scope took is free again after it.
 */
export class Arena implements Scratch {
  readonly #memory: Memory;
  readonly #free: Slot[] = [];
  #taken: Slot[] = [];

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  take(bytes: number): GPUBuffer {
    return this.takeOther(BUFFERS, bytes);
  }

  /** The smallest free one that is large enough, or a new one. */
  takeOther<T extends GPUBuffer | GPUTexture>(kind: ScratchKind<T>, asked: number): T {
    const size = kind.round(asked);
    let best = -1;
    for (const [i, slot] of this.#free.entries()) {
      if (slot.kind === kind && slot.size >= size && (best < 0 || slot.size < this.#free[best]!.size)) best = i;
    }
    const slot = best < 0 ? { kind, storage: kind.make(this.#memory, size), size } : this.#free.splice(best, 1)[0]!;
    this.#taken.push(slot);
    return slot.storage as T;
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

  /** Frees what is not taken. */
  clear(): void {
    for (const { storage } of this.#free.splice(0)) this.#memory.destroy(storage);
  }
}
