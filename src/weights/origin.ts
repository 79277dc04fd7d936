import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { fillSynthetic, type SyntheticRule, type SyntheticTarget } from "../ops/synth.ts";
import { type Checkpoint, readPieces, readTensor, SafetensorsError, type TensorEntry } from "../safetensors/index.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { synthesize, syntheticRule } from "./synthetic.ts";

/** Bytes that are read, or converted, at once. Small: a piece is held a few times over on its way to the GPU. */
export const PIECE_BYTES = 16 * 2 ** 20;

/** Some bytes of a stored tensor, ready to go to the GPU. */
export interface Stretch {
  /** In bytes from the tensor's start. */
  offset: number;
  length: number;
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
  /** From its first byte to its last, in pieces of at most `PIECE_BYTES`. */
  stretches(signal?: AbortSignal): AsyncIterable<Stretch>;
}

/** Where tensors come from: files, or a rule. */
export interface Origin {
  /** Bytes of all tensors. */
  readonly bytes: number;
  get(name: string): StoredTensor | undefined;
  /** Every tensor's name. */
  names(): Iterable<string>;
}

/** What is wrong with a safetensors file becomes a `bad-weights`. */
export async function asBadWeights<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof SafetensorsError ? toBadWeights(error) : error;
  }
}

const toBadWeights = (error: SafetensorsError): EngineError =>
  new EngineError("bad-weights", error.message, { ...(error.hint ? { hint: error.hint } : {}), cause: error });

/** Two arrays to read into: a new one for every piece would keep the garbage collector busy. */
type Pair = readonly [Uint8Array, Uint8Array];

/** Pieces with the next one being read while the last one is used: reading and copying overlap. */
async function* fileStretches(
  gpu: Gpu,
  entry: TensorEntry,
  unused: Pair[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Stretch, void, undefined> {
  const into: Pair = unused.pop() ?? [new Uint8Array(PIECE_BYTES), new Uint8Array(PIECE_BYTES)];
  const pieces = readPieces(entry, { pieceBytes: PIECE_BYTES, into, ...(signal ? { signal } : {}) });
  let next = pieces.next();
  try {
    for (;;) {
      const { value, done } = await asBadWeights(() => next);
      if (done) return;
      next = pieces.next();
      next.catch(() => {}); // told when its turn comes
      const { offset, bytes } = value;
      yield {
        offset,
        length: bytes.length,
        async put(from, to, target, at) {
          gpu.memory.write(target, at, bytes.subarray(from - offset, to - offset) as Uint8Array<ArrayBuffer>);
        },
      };
    }
  } finally {
    await next.catch(() => {}); // no read goes on after the caller has stopped
    unused.push(into);
  }
}

/** The tensors of a checkpoint's files. */
export function fileOrigin(gpu: Gpu, checkpoint: Checkpoint): Origin {
  const { tensors } = checkpoint;
  const unused: Pair[] = [];
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
        stretches: (signal) => fileStretches(gpu, entry, unused, signal),
      };
    },
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
      const rule = syntheticRule(name, shape, seed);
      return {
        dtype: "BF16",
        shape,
        read: async () => new Uint8Array(synthesize(name, shape, seed, 0, count).buffer),
        async *stretches() {
          for (let offset = 0; offset < 2 * count; offset += PIECE_BYTES) {
            yield {
              offset,
              length: Math.min(PIECE_BYTES, 2 * count - offset),
              put: (from, to, out, at) => fill(rule, { element: from / 2, count: (to - from) / 2, out, first: at / 2 }),
            };
          }
        },
      };
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
