import { badWeights } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { unpackAwq } from "../ops/awq.ts";
import { unpackedAwq } from "../reference/awq.ts";
import { AWQ_GROUP, GROUP } from "../tensor/tensor.ts";
import { SCALES_SUFFIX } from "./formats.ts";
import { CHUNK_BYTES } from "./reads.ts";
import { type Chunk, madeTensors, readAll, type StoredShape, type StoredTensor, type TensorSource } from "./tensor-source.ts";

/** A Linear that AWQ packed: `NAME.qweight`, `NAME.qzeros` and `NAME.scales` in place of `NAME.weight` [out, inner]. */
export interface AwqLinear {
  name: string;
  out: number;
  inner: number;
}

const PARTS = ["qweight", "qzeros", "scales"] as const;
type Part = (typeof PARTS)[number];

const DTYPES = { f32: "F32", q8: "I8", scales: "F16" } as const;

const HINT = 'take the model\'s AWQ folder as it was published, or the original one with weights: "q4" or "q8"';

/** @throws EngineError bad-weights where the three tensors of a Linear are not as AWQ has them */
function linearOf(name: string, stored: ReadonlyMap<string, StoredShape>): AwqLinear {
  const [inner = 0, words = 0] = stored.get(`${name}.qweight`)!.shape;
  const out = 8 * words;
  const groups = inner / AWQ_GROUP;
  if (inner === 0 || out === 0 || !Number.isInteger(groups)) {
    const problem = `tensor "${name}.qweight" has ${inner} input channels, needs whole groups of ${AWQ_GROUP}`;
    throw badWeights(problem, HINT);
  }
  const needs = { qweight: ["I32", [inner, words]], qzeros: ["I32", [groups, words]], scales: ["F16", [groups, out]] } as const;
  for (const part of PARTS) {
    const [dtype, shape] = needs[part];
    const has = stored.get(`${name}.${part}`);
    if (has?.dtype === dtype && String(has.shape) === String(shape)) continue;
    const found = has ? `${has.dtype} [${has.shape.slice(0, 8)}]` : "missing";
    throw badWeights(`tensor "${name}.${part}" is ${found}, needs ${dtype} [${shape}]`, HINT);
  }
  return { name, out, inner };
}

/** The packed Linears of a checkpoint, by the name of the weight that each stands for. @throws EngineError bad-weights */
export function awqLinears(stored: ReadonlyMap<string, StoredShape>): Map<string, AwqLinear> {
  const names = [...stored.keys()].flatMap((name) => (name.endsWith(".qweight") ? [name.slice(0, -".qweight".length)] : []));
  return new Map(names.map((name) => [`${name}.weight`, linearOf(name, stored)]));
}

/** A checkpoint's tensors with the weights that its packed Linears stand for. */
export function unpackedShapes(
  stored: ReadonlyMap<string, StoredShape>,
  linears: ReadonlyMap<string, AwqLinear>,
): Map<string, StoredShape> {
  const shapes = new Map(stored);
  for (const [weight, { name, out, inner }] of linears) {
    for (const part of PARTS) shapes.delete(`${name}.${part}`);
    shapes.set(weight, { dtype: "F32", shape: [out, inner], held: "q8" });
  }
  return shapes;
}

function partBytes({ out, inner }: AwqLinear, part: Part): number {
  const groups = inner / AWQ_GROUP;
  return { qweight: (inner * out) / 2, qzeros: (groups * out) / 2, scales: groups * out * 2 }[part];
}

/** How a weight comes: as codes of q8 with `NAME.scales`, or as f32, which `auto` holds as it is or in q8; each exactly. */
type Comes = "codes" | "f32" | "f32 for q8";

/** A tensor [out, width] that a Linear is unpacked to. */
interface Made {
  name: string;
  to: keyof typeof DTYPES;
  width: number;
  elementBytes: number;
}

function madeOf({ name, inner }: AwqLinear, comes: Comes): Made[] {
  const weight = `${name}.weight`;
  if (comes !== "codes") return [{ name: weight, to: "f32", width: inner, elementBytes: 4 }];
  return [
    { name: weight, to: "q8", width: inner, elementBytes: 1 },
    { name: weight + SCALES_SUFFIX, to: "scales", width: inner / GROUP, elementBytes: 2 },
  ];
}

/** A Linear's three tensors on their way to the GPU, in whatever order they come. */
function arriving({ memory }: Gpu, source: TensorSource, linear: AwqLinear) {
  const { name, out, inner } = linear;
  const buffers = new Map<Part, GPUBuffer>();
  let missing = PARTS.reduce((sum, part) => sum + partBytes(linear, part), 0);

  const bufferOf = (part: Part): GPUBuffer => {
    const buffer = buffers.get(part) ?? memory.create(`${name}.${part}`, partBytes(linear, part));
    buffers.set(part, buffer);
    return buffer;
  };

  /** Rows computed on the CPU, from the files: what is written is held against them. */
  async function onCpu(to: Made["to"], first: number, rows: number): Promise<Uint8Array> {
    const read = async (part: Part) => Uint8Array.from(await source.get(`${name}.${part}`)!.read()).buffer;
    const packed = {
      ...{ out, inner },
      words: new Uint32Array(await read("qweight")),
      zeros: new Uint32Array(await read("qzeros")),
      scales: new Uint16Array(await read("scales")),
    };
    return new Uint8Array(unpackedAwq(packed, to, first, rows).buffer);
  }

  return {
    /** @returns whether all is there */
    async take({ offset, length, put }: Chunk, part: Part): Promise<boolean> {
      await put(offset, offset + length, bufferOf(part), offset);
      missing -= length;
      return missing === 0;
    },

    /** The chunks of a tensor, unpacked on the GPU; they last until `free`. */
    *chunks({ name, to, width, elementBytes }: Made, programs: Programs): Generator<Chunk> {
      const packed = { out, inner, words: bufferOf("qweight"), zeros: bufferOf("qzeros"), scales: bufferOf("scales") };
      const rowBytes = width * elementBytes;
      const perChunk = Math.max(8, 8 * Math.floor(CHUNK_BYTES / rowBytes / 8));
      for (let first = 0; first < out; first += perChunk) {
        const rows = Math.min(perChunk, out - first);
        yield {
          ...{ name, offset: first * rowBytes, length: rows * rowBytes },
          bytes: () => onCpu(to, first, rows),
          async put(from, end, target, offset) {
            const some = { first: from / rowBytes, rows: (end - from) / rowBytes, to: target, at: offset / elementBytes };
            await programs.once("unpack weights", (p) => unpackAwq(p, packed, to, some));
          },
        };
      }
    },

    free(): void {
      for (const buffer of buffers.values()) memory.destroy(buffer);
    },
  };
}

/** A checkpoint that AWQ packed, as one of weights [out, inner]: unpacked on the GPU while they are read. */
export function awqTensors(gpu: Gpu, source: TensorSource, comes: (weight: string) => Comes): TensorSource {
  const stored = new Map([...source.names()].map((name) => [name, source.get(name)!]));
  const parts = new Map<string, { linear: AwqLinear; part: Part; made: readonly Made[] }>();
  const tensors = new Map<string, StoredTensor>(stored);
  for (const [weight, linear] of awqLinears(stored)) {
    const made = madeOf(linear, comes(weight));
    for (const part of PARTS) {
      parts.set(`${linear.name}.${part}`, { linear, part, made });
      tensors.delete(`${linear.name}.${part}`);
    }
    for (const { name, to, width } of made) {
      tensors.set(name, {
        dtype: DTYPES[to],
        ...(comes(weight) === "f32 for q8" && { held: "q8" }),
        shape: [linear.out, width],
        from: (to === "scales" ? (["scales"] as const) : PARTS).map((part) => `${linear.name}.${part}`),
        read: (signal) => readAll(self, name, signal),
      });
    }
  }

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Chunk, void, undefined> {
    const wanted = new Set(names);
    const needed = [...stored.keys()].filter((name) => (parts.get(name)?.made ?? [{ name }]).some((each) => wanted.has(each.name)));
    // safetensors' own writer puts a file's I32 tensors before the F16 ones: with its scales read first, each Linear is done when its words came.
    const isSmall = (name: string) => parts.has(name) && parts.get(name)!.part !== "qweight";
    const underWay = new Map<AwqLinear, ReturnType<typeof arriving>>();
    const programs = new Programs(gpu);
    try {
      for (const pass of [needed.filter(isSmall), needed.filter((name) => !isSmall(name))]) {
        for await (const chunk of source.stream(pass, signal)) {
          const packed = parts.get(chunk.name);
          if (!packed) {
            yield chunk;
            continue;
          }
          const { linear, part, made } = packed;
          const staged = underWay.get(linear) ?? arriving(gpu, source, linear);
          underWay.set(linear, staged);
          if (!(await staged.take(chunk, part))) continue;
          for (const each of made) if (wanted.has(each.name)) yield* staged.chunks(each, programs);
          underWay.delete(linear);
          staged.free();
        }
      }
    } finally {
      for (const staged of underWay.values()) staged.free();
      programs.dispose();
    }
  }

  const self = madeTensors(tensors, stream);
  return self;
}
