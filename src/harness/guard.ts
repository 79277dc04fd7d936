import type { Scratch, ScratchKind } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Bindable } from "../tensor/tensor.ts";

/** Elements before and behind every tensor. */
export const GUARD = 1024;

/** A NaN that no arithmetic makes: what nobody has written stays visible. */
export const POISON = 0x7fc0dead;

interface Tensor {
  label: string;
  binding: GPUBufferBinding;
  words: number;
  /** What it held before the run; nothing but poison where absent. */
  content: Uint32Array<ArrayBuffer> | undefined;
}

/** A tensor after the run. */
export interface Found extends Tensor {
  /** Its own words, without the guards. */
  found: Uint32Array<ArrayBuffer>;
  /** Which guard was written to, if one was. */
  damage: string | undefined;
}

/** Buffers between guards, each tensor in one of its own: poison before it, behind it, and in it until something is written. */
export class GuardedScratch implements Scratch {
  readonly #gpu: Gpu;
  readonly #tensors: Tensor[] = [];
  readonly #textures: GPUTexture[] = [];

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  take(bytes: number): GPUBufferBinding {
    return this.place("scratch", Math.ceil(bytes / 4), undefined);
  }

  /** A texture of vec4s, poison in every one. A texture needs no guards: no kernel can reach beyond its own. */
  takeOther<T extends GPUBuffer | GPUTexture>(kind: ScratchKind<T>, size: number): T {
    const storage = kind.make(this.#gpu.memory, size);
    if (!("createView" in storage)) throw new Error("a buffer of scratch storage has no guards but by `take`");
    this.#textures.push(storage);
    const { width, height } = storage;
    const poison = new Uint32Array(4 * width * height).fill(POISON);
    this.#gpu.device.queue.writeTexture({ texture: storage }, poison, { bytesPerRow: 16 * width }, [width, height]);
    return storage;
  }

  scope<T>(record: () => T): T {
    return record(); // nothing is used twice: an op that writes to memory which it still reads is found
  }

  /** Storage of `words` words: first the content, if there is any, then poison. */
  place(label: string, words: number, data: Uint32Array<ArrayBuffer> | undefined): GPUBufferBinding {
    const buffer = this.#gpu.memory.create(`guarded ${label}`, (words + 2 * GUARD) * 4);
    const all = new Uint32Array(words + 2 * GUARD).fill(POISON);
    if (data) all.set(data, GUARD);
    this.#gpu.memory.write(buffer, 0, all);
    const content = data && all.subarray(GUARD, GUARD + words);
    // The guard behind lies inside the binding: else bounds checks would hide a write past the end.
    const binding = { buffer, offset: GUARD * 4, size: (words + GUARD) * 4 };
    this.#tensors.push({ label, binding, words, content });
    return binding;
  }

  /** Reads everything back, in one go. */
  async read(): Promise<Map<Bindable, Found>> {
    const buffers = await this.#gpu.memory.readAll(
      this.#tensors.map(({ binding, words }) => ({ from: binding.buffer, offset: 0, bytes: (words + 2 * GUARD) * 4 })),
    );
    return new Map(
      this.#tensors.map((tensor, i) => {
        const all = new Uint32Array(buffers[i]!);
        const end = GUARD + tensor.words;
        const damage = touched(all, 0, GUARD) ? "before" : touched(all, end, all.length) ? "behind" : undefined;
        return [tensor.binding, { ...tensor, found: all.subarray(GUARD, end), damage }];
      }),
    );
  }

  dispose(): void {
    for (const { binding } of this.#tensors) this.#gpu.memory.destroy(binding.buffer);
    for (const texture of this.#textures) this.#gpu.memory.destroy(texture);
    this.#tensors.length = 0;
    this.#textures.length = 0;
  }
}

/** Whether anything but poison lies between two places. */
export function touched(words: Uint32Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (words[i] !== POISON) return true;
  return false;
}
