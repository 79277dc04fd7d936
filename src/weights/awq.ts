import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { type AwqStorage, unpackAwq } from "../ops/awq.ts";
import { awqCodes, awqValues } from "../reference/awq.ts";
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

const HINT = { hint: 'take the model\'s AWQ folder as it was published, or the original one with weights: "q4" or "q8"' };

/** @throws EngineError bad-weights where the three tensors of a Linear are not as AWQ has them */
function linearOf(name: string, stored: ReadonlyMap<string, StoredShape>): AwqLinear {
  const [inner = 0, words = 0] = stored.get(`${name}.qweight`)!.shape;
  const out = 8 * words;
  const groups = inner / AWQ_GROUP;
  if (inner === 0 || out === 0 || !Number.isInteger(groups)) {
    const problem = `tensor "${name}.qweight" has ${inner} input channels, needs whole groups of ${AWQ_GROUP}`;
    throw new EngineError("bad-weights", problem, HINT);
  }
  const needs = { qweight: ["I32", [inner, words]], qzeros: ["I32", [groups, words]], scales: ["F16", [groups, out]] } as const;
  for (const part of PARTS) {
    const [dtype, shape] = needs[part];
    const has = stored.get(`${name}.${part}`);
    if (has?.dtype === dtype && String(has.shape) === String(shape)) continue;
    const found = has ? `${has.dtype} [${has.shape.slice(0, 8)}]` : "missing";
    throw new EngineError("bad-weights", `tensor "${name}.${part}" is ${found}, needs ${dtype} [${shape}]`, HINT);
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

/** A Linear's three tensors on their way to the GPU, in whatever order they come. */
class Arriving {
  readonly #gpu: Gpu;
  readonly #linear: AwqLinear;
  readonly #buffers = new Map<Part, GPUBuffer>();
  #missing: number;

  constructor(gpu: Gpu, linear: AwqLinear) {
    this.#gpu = gpu;
    this.#linear = linear;
    this.#missing = PARTS.reduce((sum, part) => sum + partBytes(linear, part), 0);
  }

  #buffer(part: Part): GPUBuffer {
    const buffer = this.#buffers.get(part) ?? this.#gpu.memory.create(`${this.#linear.name}.${part}`, partBytes(this.#linear, part));
    this.#buffers.set(part, buffer);
    return buffer;
  }

  /** @returns whether all is there */
  async take({ offset, length, put }: Chunk, part: Part): Promise<boolean> {
    await put(offset, offset + length, this.#buffer(part), offset);
    this.#missing -= length;
    return this.#missing === 0;
  }

  get storage(): AwqStorage {
    const { out, inner } = this.#linear;
    return { out, inner, words: this.#buffer("qweight"), zeros: this.#buffer("qzeros"), scales: this.#buffer("scales") };
  }

  free(): void {
    for (const buffer of this.#buffers.values()) this.#gpu.memory.destroy(buffer);
  }
}

/**
 * A checkpoint that AWQ packed, as one of weights [out, inner]: unpacked on the GPU while they are read.
 *
 * @param comes how a weight comes: as codes of q8 with `NAME.scales`, exactly, or as f32, exactly too, which `auto` holds as it is or in q8
 */
export function awqTensors(gpu: Gpu, source: TensorSource, comes: (weight: string) => "codes" | "f32" | "f32 for q8"): TensorSource {
  const stored = new Map([...source.names()].map((name) => [name, source.get(name)!]));
  const linears = awqLinears(stored);
  const parts = new Map<string, { linear: AwqLinear; part: Part }>();
  for (const linear of linears.values()) for (const part of PARTS) parts.set(`${linear.name}.${part}`, { linear, part });
  /** What becomes of a Linear: the tensors that it stands for, each with the bytes of a row. */
  const made = ({ name, inner }: AwqLinear) => {
    const weight = `${name}.weight`;
    if (comes(weight) !== "codes") return [{ name: weight, to: "f32", rowBytes: 4 * inner }] as const;
    return [
      { name: weight, to: "q8", rowBytes: inner },
      { name: weight + SCALES_SUFFIX, to: "scales", rowBytes: (2 * inner) / GROUP },
    ] as const;
  };
  type Made = ReturnType<typeof made>[number];

  /** The same rows computed on the CPU, from the files: what is written is held against it. */
  async function onCpu({ name, out, inner }: AwqLinear, to: Made["to"], first: number, rows: number): Promise<Uint8Array> {
    const read = async (part: Part) => Uint8Array.from(await stored.get(`${name}.${part}`)!.read()).buffer;
    const packed = {
      ...{ out, inner },
      words: new Uint32Array(await read("qweight")),
      zeros: new Uint32Array(await read("qzeros")),
      scales: new Uint16Array(await read("scales")),
    };
    const values = to === "f32" ? awqValues(packed, first, rows) : awqCodes(packed, first, rows)[to === "q8" ? "codes" : "scales"];
    return new Uint8Array(values.buffer);
  }

  function* chunks(programs: Programs, linear: AwqLinear, storage: AwqStorage, { name, to, rowBytes }: Made): Generator<Chunk> {
    const { out } = linear;
    const perChunk = Math.max(8, 8 * Math.floor(CHUNK_BYTES / rowBytes / 8));
    for (let first = 0; first < out; first += perChunk) {
      const rows = Math.min(perChunk, out - first);
      yield {
        name,
        offset: first * rowBytes,
        length: rows * rowBytes,
        bytes: () => onCpu(linear, to, first, rows),
        async put(from, end, target, offset) {
          const elementBytes = rowBytes / (to === "scales" ? linear.inner / GROUP : linear.inner);
          const some = { first: from / rowBytes, rows: (end - from) / rowBytes, to: target, at: offset / elementBytes };
          await programs.once("unpack weights", (p) => unpackAwq(p, storage, to, some));
        },
      };
    }
  }

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Chunk, void, undefined> {
    const wanted = new Set(names);
    const needed = [...stored.keys()].filter((name) => {
      const linear = parts.get(name)?.linear;
      return linear ? made(linear).some((each) => wanted.has(each.name)) : wanted.has(name);
    });
    // safetensors' own writer puts a file's I32 tensors before the F16 ones: with its scales read first, each Linear is done when its words came.
    const isSmall = (name: string) => parts.has(name) && parts.get(name)!.part !== "qweight";
    const passes = [needed.filter(isSmall), needed.filter((name) => !isSmall(name))];
    const arriving = new Map<AwqLinear, Arriving>();
    const programs = new Programs(gpu);
    try {
      for (const pass of passes) {
        for await (const chunk of source.stream(pass, signal)) {
          const packed = parts.get(chunk.name);
          if (!packed) {
            yield chunk;
            continue;
          }
          const { linear, part } = packed;
          const staged = arriving.get(linear) ?? new Arriving(gpu, linear);
          arriving.set(linear, staged);
          if (!(await staged.take(chunk, part))) continue;
          for (const each of made(linear)) if (wanted.has(each.name)) yield* chunks(programs, linear, staged.storage, each);
          arriving.delete(linear);
          staged.free();
        }
      }
    } finally {
      for (const staged of arriving.values()) staged.free();
      programs.dispose();
    }
  }

  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of stored) if (!parts.has(name)) tensors.set(name, tensor);
  for (const linear of linears.values()) {
    const { out, inner } = linear;
    for (const { name, to } of made(linear)) {
      tensors.set(name, {
        dtype: DTYPES[to],
        ...(comes(name) === "f32 for q8" ? { held: "q8" as const } : {}),
        shape: to === "scales" ? [out, inner / GROUP] : [out, inner],
        from: (to === "scales" ? (["scales"] as const) : PARTS).map((part) => `${linear.name}.${part}`),
        read: (signal) => readAll(self, name, signal),
      });
    }
  }
  const self = madeTensors(tensors, stream);
  return self;
}
