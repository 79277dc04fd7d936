import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { mergeLora } from "../ops/lora.ts";
import { addLowRank } from "../reference/lora.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT } from "../tensor/tensor.ts";
import { PLAIN } from "./formats.ts";
import { type Converter, converterOn } from "./quantize.ts";
import { CHUNK_BYTES } from "./reads.ts";
import { type Chunk, fileTensors, madeTensors, readAll, readEntry, type StoredTensor, type TensorSource } from "./tensor-source.ts";
import { widen } from "./uploads.ts";

/** scale · B · A, to be added to some rows of a matrix. */
export interface LoraUpdate {
  /** Where A [rank, inner] and B [rows, rank] lie. */
  files: Checkpoint;
  a: string;
  b: string;
  rank: number;
  scale: number;
  /** The rows of the matrix. */
  row: number;
  rows: number;
}

/** A tensor of the model that adapters change: what it is taken from, and what is added to it. */
export interface Adapted {
  base: { name: string /** Where it is not the checkpoint's own. */; files?: Checkpoint };
  updates: LoraUpdate[];
}

const ELEMENTS = CHUNK_BYTES / 4; // in f32
type Tensor = Adapted & { name: string; stored: StoredTensor };

/** An update's factors, read and widened. @throws EngineError bad-weights where one is infinite or no number */
async function factors({ files, a, b }: LoraUpdate, signal?: AbortSignal) {
  const read = async (name: string) => {
    const entry = files.tensors.get(name)!;
    return widen(name, await readEntry(entry, signal), PLAIN[entry.info.dtype]!);
  };
  return { a: await read(a), b: await read(b) };
}

/**
 * A checkpoint whose tensors have adapters merged into them while they are read: on the GPU, in f32. Those come as f32, and `auto` holds them as
 * it would hold the ones without (one rounding, after the sum).
 *
 * @param adapted by the names of the tensors; one that the source lacks is new
 */
export function mergedTensors(gpu: Gpu, source: TensorSource, adapted: ReadonlyMap<string, Adapted>): TensorSource {
  const tensors = new Map<string, StoredTensor>();
  const made = new Map<string, Tensor>();
  const others = new Map<Checkpoint, TensorSource>();
  const sourceOf = ({ files }: Adapted["base"]): TensorSource => {
    if (!files) return source;
    const known = others.get(files) ?? fileTensors(gpu, files);
    others.set(files, known);
    return known;
  };
  for (const name of new Set([...source.names(), ...adapted.keys()])) {
    const change = adapted.get(name);
    if (!change) {
      tensors.set(name, source.get(name)!);
      continue;
    }
    const { base, updates } = change;
    const stored = sourceOf(base).get(base.name)!;
    const held = (source.get(name) ?? stored).held ?? PLAIN[(source.get(name) ?? stored).dtype]!;
    const from = [base.name, ...updates.flatMap(({ a, b }) => [a, b])];
    const dtype = updates.length > 0 ? "F32" : stored.dtype;
    tensors.set(name, { dtype, shape: stored.shape, held, from, read: (signal) => readAll(self, name, signal) });
    made.set(name, { ...change, name, stored });
  }

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Chunk, void, undefined> {
    const wanted = new Set(names);
    /** Which tensors are made of each that is read, by where it lies. */
    const readers = new Map<TensorSource, Map<string, Tensor[]>>([[source, new Map()]]);
    for (const name of wanted) {
      const tensor = made.get(name);
      if (!tensor) continue;
      const from = sourceOf(tensor.base);
      const own = readers.get(from) ?? new Map<string, Tensor[]>();
      readers.set(from, own);
      own.set(tensor.base.name, [...(own.get(tensor.base.name) ?? []), tensor]);
    }
    const merging = merger(gpu, signal);
    try {
      for (const [from, own] of readers) {
        const asIs = new Set(from === source ? [...wanted].filter((name) => !made.has(name)) : []);
        for await (const chunk of from.stream([...asIs, ...own.keys()], signal)) {
          if (asIs.has(chunk.name)) yield chunk;
          for (const tensor of own.get(chunk.name) ?? []) yield* merging.merged(tensor, chunk);
        }
      }
    } finally {
      await merging.finish();
    }
  }

  const self = madeTensors(tensors, stream);
  return self;
}

interface Product {
  update: LoraUpdate;
  a: Float32Array;
  b: Float32Array;
  onGpu: { a: GPUBuffer; b: GPUBuffer };
}

/** Merges on the GPU, with the factors of the tensor that goes by, until the next one comes. */
function merger(gpu: Gpu, signal: AbortSignal | undefined) {
  const { memory } = gpu;
  const programs = new Programs(gpu);
  const known = new Map<Tensor, Product[]>();
  let converter: Converter | undefined; // widens what is stored in 16 bits

  const free = (tensor: Tensor): void => {
    for (const { onGpu } of known.get(tensor)!) for (const buffer of Object.values(onGpu)) memory.destroy(buffer);
    known.delete(tensor);
  };

  async function productsOf(tensor: Tensor): Promise<Product[]> {
    const found = known.get(tensor);
    if (found) return found;
    // Two tensors can be made of one, whose pieces come in turns: what is done with is freed when another one begins.
    for (const other of [...known.keys()]) if (other.base.name !== tensor.base.name) free(other);
    const products: Product[] = [];
    known.set(tensor, products);
    for (const update of tensor.updates) {
      const { a, b } = await factors(update, signal);
      const onGpu = { a: memory.create(update.a, a.byteLength), b: memory.create(update.b, b.byteLength) };
      products.push({ update, a, b, onGpu });
      memory.write(onGpu.a, 0, a);
      memory.write(onGpu.b, 0, b);
    }
    return products;
  }

  return {
    /** A piece of a tensor with everything added to it. */
    async *merged(tensor: Tensor, chunk: Chunk): AsyncGenerator<Chunk, void, undefined> {
      const { name, stored, updates } = tensor;
      if (updates.length === 0) {
        yield { ...chunk, name };
        return;
      }
      const inner = stored.shape[1]!;
      const dtype = PLAIN[stored.dtype]!;
      const size = BYTES_PER_ELEMENT[dtype];
      const [begin, end] = [chunk.offset / size, (chunk.offset + chunk.length) / size];
      const products = await productsOf(tensor);
      for (let first = begin; first < end; first += ELEMENTS) {
        const count = Math.min(ELEMENTS, end - first);
        yield {
          name,
          offset: 4 * first,
          length: 4 * count,
          async bytes() {
            const values = widen(name, await chunk.bytes(), dtype).slice(first - begin, first - begin + count);
            for (const { update, a, b } of products) addLowRank(values, first, inner, { ...update, a, b });
            return new Uint8Array(values.buffer);
          },
          async put(from, to, target, at) {
            const [element, elements] = [from / 4, (to - from) / 4];
            if (dtype === "f32") await chunk.put(from, to, target, at);
            else {
              const part = { rowStart: 0, rows: 1, buffer: target };
              converter ??= converterOn(gpu);
              await converter.convert(chunk, [element * size, (element + elements) * size], dtype, "f32", part, at / 4, 0);
            }
            await programs.once("merge weights", (p) => {
              for (const { update, onGpu } of products) {
                mergeLora(p, { ...update, ...onGpu, to: target, first: element, elements, at: at / 4, inner });
              }
            });
          },
        };
      }
    },

    async finish(): Promise<void> {
      for (const tensor of [...known.keys()]) free(tensor);
      programs.dispose();
      await converter?.finish();
    },
  };
}
