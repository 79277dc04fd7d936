import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { asBadWeights } from "../hub/open.ts";
import { fillSynthetic, type SyntheticRule, type SyntheticTarget } from "../ops/synth.ts";
import { type Checkpoint, readTensor } from "../safetensors/index.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { PIECE_BYTES, planReads, readAhead } from "./reads.ts";
import { synthesize, syntheticRule } from "./synthetic.ts";

/** Some bytes of a stored tensor, ready to go to the GPU. */
export interface Stretch {
  /** The tensor's name. */
  name: string;
  /** In bytes from the tensor's start. */
  offset: number;
  length: number;
  /** All of it, on the CPU: for small tensors. */
  bytes(): Uint8Array;
  /** Puts the bytes [from, to) of the tensor (inside this stretch) to `offset` bytes behind the start of `target`. */
  put(from: number, to: number, target: Bindable, offset: number): Promise<void>;
}

/** A tensor as it is stored. */
export interface StoredTensor {
  /** As safetensors spells it. */
  dtype: string;
  shape: readonly number[];
  /** The whole tensor: for small ones. */
  read(signal?: AbortSignal): Promise<Uint8Array>;
}

/** Where tensors come from: files, or a rule. */
export interface Origin {
  /** Bytes of all tensors. */
  readonly bytes: number;
  get(name: string): StoredTensor | undefined;
  /** Every tensor's name. */
  names(): Iterable<string>;
  /**
   * The bytes of some tensors, in stretches of at most `PIECE_BYTES`: tensor after tensor in the order of `names()`, each from its first byte
   * to its last. A stretch lasts until the next one is asked for.
   */
  stream(names: Iterable<string>, signal?: AbortSignal): AsyncIterable<Stretch>;
}

/** Two reads are under way while the bytes of a third one go to the GPU. */
const ARRAYS = 3;

/** The tensors of a checkpoint's files. */
export function fileOrigin(gpu: Gpu, checkpoint: Checkpoint): Origin {
  const { tensors } = checkpoint;
  const unused: Uint8Array[][] = []; // new arrays for every stream would keep the garbage collector busy

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Stretch, void, undefined> {
    const wanted = new Set(names);
    const entries = [...tensors.values()].filter(({ info }) => wanted.has(info.name));
    const into = unused.pop() ?? Array.from({ length: ARRAYS }, () => new Uint8Array(PIECE_BYTES));
    const readings = readAhead(planReads(entries), into, signal);
    try {
      for (;;) {
        const { value, done } = await asBadWeights(() => readings.next());
        if (done) return;
        const { read, bytes } = value;
        for (const { name, offset, begin, end } of read.parts) {
          const put: Stretch["put"] = async (from, to, target, at) => {
            const shift = begin - read.begin - offset;
            gpu.memory.write(target, at, bytes.subarray(from + shift, to + shift) as Uint8Array<ArrayBuffer>);
          };
          yield { name, offset, length: end - begin, bytes: () => bytes.subarray(begin - read.begin, end - read.begin), put };
        }
      }
    } finally {
      await readings.return();
      unused.push(into);
    }
  }

  return {
    bytes: [...tensors.values()].reduce((sum, { info }) => sum + info.end - info.begin, 0),
    names: () => tensors.keys(),
    get(name) {
      const entry = tensors.get(name);
      if (!entry) return undefined;
      return {
        dtype: entry.info.dtype,
        shape: entry.info.shape,
        read: (signal) => asBadWeights(() => readTensor(entry, { maxBytes: Number.MAX_SAFE_INTEGER, ...(signal ? { signal } : {}) })),
      };
    },
    stream,
  };
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/**
 * Tensors of the synthetic rule (facts/SYNTHETIC.md), bf16, made on the GPU: no file, and nothing to upload.
 *
 * @param shapes what there is, as `checkpointTensors` lists it
 */
export function syntheticOrigin(gpu: Gpu, shapes: readonly { name: string; shape: readonly number[] }[], seed: number): Origin {
  const byName = new Map(shapes.map(({ name, shape }) => [name, shape]));
  const fill = syntheticFiller(gpu);
  return {
    bytes: shapes.reduce((sum, { shape }) => sum + 2 * sizeOf(shape), 0),
    names: () => byName.keys(),
    get(name) {
      const shape = byName.get(name);
      if (!shape) return undefined;
      const count = sizeOf(shape);
      return {
        dtype: "BF16",
        shape,
        read: async () => new Uint8Array(synthesize(name, shape, seed, 0, count).buffer),
      };
    },
    async *stream(names) {
      const wanted = new Set(names);
      for (const { name, shape } of shapes) {
        if (!wanted.has(name)) continue;
        const rule = syntheticRule(name, shape, seed);
        const bytes = 2 * sizeOf(shape);
        for (let offset = 0; offset < bytes; offset += PIECE_BYTES) {
          const length = Math.min(PIECE_BYTES, bytes - offset);
          yield {
            name,
            offset,
            length,
            bytes: () => new Uint8Array(synthesize(name, shape, seed, offset / 2, length / 2).buffer),
            put: (from, to, out, at) => fill(rule, { element: from / 2, count: (to - from) / 2, out, first: at / 2 }),
          };
        }
      }
    },
  };
}

/** Runs `fillSynthetic` at once. */
export function syntheticFiller(gpu: Gpu): (rule: SyntheticRule, target: SyntheticTarget) => Promise<void> {
  const programs = new Programs(gpu);
  return async (rule, target) => {
    const program = await programs.record("synthetic weights", 1, (p) => fillSynthetic(p, rule, target));
    program.run({ units: 1, start: 0 });
    program.dispose();
  };
}
