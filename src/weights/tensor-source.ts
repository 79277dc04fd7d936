import type { Gpu } from "../gpu/device.ts";
import { asBadWeights } from "../hub/open.ts";
import { byteLength, type Checkpoint, type Dtype, readTensor, type TensorEntry } from "../safetensors/index.ts";
import type { Bindable, MatrixDtype } from "../tensor/tensor.ts";
import { CHUNK_BYTES, planReads, readAhead } from "./reads.ts";

/** Consecutive bytes of a stored tensor, ready to go to the GPU. */
export interface Chunk {
  /** The tensor's name. */
  name: string;
  /** In bytes from the tensor's start. */
  offset: number;
  length: number;
  /** All of it, on the CPU: for small tensors. What is made on the GPU is computed there once more. */
  bytes(): Promise<Uint8Array>;
  /** Puts the bytes [from, to) of the tensor (inside this chunk) to `offset` bytes behind the start of `target`. */
  put(from: number, to: number, target: Bindable, offset: number): Promise<void>;
}

/** A tensor as a file's header declares it. */
export interface StoredShape {
  /** As safetensors spells it. */
  dtype: string;
  shape: readonly number[];
  /** What `auto` holds a matrix in, where that is not what it comes in: one that is merged or unpacked comes in f32. */
  held?: MatrixDtype;
}

/** The tensors that there are. */
export interface StoredShapes {
  names(): Iterable<string>;
  get(name: string): StoredShape | undefined;
}

/** A tensor as it comes. */
export interface StoredTensor extends StoredShape {
  /** The tensors of the files that it is made of, where it is not one of them. */
  from?: readonly string[];
  /** The whole tensor: for small ones. */
  read(signal?: AbortSignal): Promise<Uint8Array>;
}

/** Bytes of a tensor. */
export const bytesOf = ({ dtype, shape }: StoredShape): number => byteLength(dtype as Dtype, shape)!;

/** Bytes of all tensors of some files. */
export const tensorBytes = (tensors: Checkpoint["tensors"]): number =>
  [...tensors.values()].reduce((sum, { info }) => sum + info.end - info.begin, 0);

/** A whole tensor of a file, however large. @throws EngineError bad-weights */
export const readEntry = (entry: TensorEntry, signal?: AbortSignal): Promise<Uint8Array> =>
  asBadWeights(() => readTensor(entry, { maxBytes: Number.MAX_SAFE_INTEGER, ...(signal ? { signal } : {}) }));

/** A whole tensor, put together from its chunks on the CPU. */
export async function readAll(source: TensorSource, name: string, signal?: AbortSignal): Promise<Uint8Array> {
  const whole = new Uint8Array(bytesOf(source.get(name)!));
  for await (const chunk of source.stream([name], signal)) whole.set(await chunk.bytes(), chunk.offset);
  return whole;
}

/** A tensor's bytes on the CPU, piece by piece; what is made on the GPU is read back from there. A piece lasts until the next one is asked for. */
export async function* piecesOf(
  { memory }: Gpu,
  source: TensorSource,
  name: string,
  signal?: AbortSignal,
): AsyncGenerator<{ offset: number; bytes: Uint8Array }, void, undefined> {
  const made = source.get(name)!.from && memory.create("made", CHUNK_BYTES);
  try {
    for await (const chunk of source.stream([name], signal)) {
      const { offset, length } = chunk;
      if (made) await chunk.put(offset, offset + length, made, 0);
      yield { offset, bytes: made ? new Uint8Array(await memory.read(made, 0, length)) : await chunk.bytes() };
    }
  } finally {
    if (made) memory.destroy(made);
  }
}

/** Where tensors come from: files, or a rule. */
export interface TensorSource {
  /** Bytes of all tensors. */
  readonly bytes: number;
  get(name: string): StoredTensor | undefined;
  /** Every tensor's name. */
  names(): Iterable<string>;
  /**
   * The bytes of some tensors, in chunks of at most `CHUNK_BYTES`: tensor after tensor in the order of `names()`, each from its first
   * byte to its last. A chunk lasts until the next one is asked for.
   */
  stream(names: Iterable<string>, signal?: AbortSignal): AsyncIterable<Chunk>;
}

/** Two reads are under way while the bytes of a third one go to the GPU. */
const ARRAYS = 3;

/** The tensors of a checkpoint's files. */
export function fileTensors(gpu: Gpu, checkpoint: Checkpoint): TensorSource {
  const { tensors } = checkpoint;
  const unused: Uint8Array[][] = []; // new arrays for every stream would keep the garbage collector busy

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Chunk, void, undefined> {
    const wanted = new Set(names);
    const entries = [...tensors.values()].filter(({ info }) => wanted.has(info.name));
    const into = unused.pop() ?? Array.from({ length: ARRAYS }, () => new Uint8Array(CHUNK_BYTES));
    const reads = readAhead(planReads(entries), into, signal);
    try {
      for (;;) {
        const { value, done } = await asBadWeights(() => reads.next());
        if (done) return;
        const { read, bytes } = value;
        for (const { name, offset, begin, end } of read.parts) {
          const put: Chunk["put"] = async (from, to, target, at) => {
            const shift = begin - read.begin - offset;
            gpu.memory.write(target, at, bytes.subarray(from + shift, to + shift) as Uint8Array<ArrayBuffer>);
          };
          yield { name, offset, length: end - begin, bytes: async () => bytes.subarray(begin - read.begin, end - read.begin), put };
        }
      }
    } finally {
      await reads.return();
      unused.push(into);
    }
  }

  return {
    bytes: tensorBytes(tensors),
    names: () => tensors.keys(),
    get(name) {
      const entry = tensors.get(name);
      if (!entry) return undefined;
      return { dtype: entry.info.dtype, shape: entry.info.shape, read: (signal) => readEntry(entry, signal) };
    },
    stream,
  };
}

/** A source of tensors that were made of others. */
export const madeTensors = (tensors: ReadonlyMap<string, StoredTensor>, stream: TensorSource["stream"]): TensorSource => ({
  bytes: [...tensors.values()].reduce((sum, tensor) => sum + bytesOf(tensor), 0),
  names: () => tensors.keys(),
  get: (name) => tensors.get(name),
  stream,
});

/** The same tensors by other names. @param names those in `source`, by the new ones; what is not among them is left out */
export function renamedTensors(source: TensorSource, names: ReadonlyMap<string, string>): TensorSource {
  const back = new Map([...names].map(([name, raw]) => [raw, name]));
  const tensors = new Map([...names].map(([name, raw]) => [name, { ...source.get(raw)!, ...(raw !== name && { from: [raw] }) }]));
  return madeTensors(tensors, async function* (wanted, signal) {
    const raws = [...wanted].flatMap((name) => names.get(name) ?? []);
    for await (const chunk of source.stream(raws, signal)) yield { ...chunk, name: back.get(chunk.name)! };
  });
}
