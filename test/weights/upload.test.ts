import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadModel } from "../../src/api/model-load.ts";
import { EngineError } from "../../src/errors.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { openWeights } from "../../src/hub/open.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { ByteSource, TensorEntry } from "../../src/safetensors/index.ts";
import { type Matrix, type Vector, widenBf16, widenF16 } from "../../src/tensor/tensor.ts";
import { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { CHUNK_BYTES } from "../../src/weights/reads.ts";
import { fileTensors } from "../../src/weights/tensor-source.ts";
import { fixture, memoryFiles, syntheticFile } from "../support.ts";

const ROWS = 6 * 1024;
const INNER = 1024; // of bf16: 12 MiB a tensor, so that each is a read of its own
const BYTES = ROWS * INNER * 2;
const NAMES = ["a", "b", "c", "d", "e"];

describe("matrices on their way from files to the GPU", () => {
  let gpu: Gpu;
  /** What happened, in order: "read a", "wrote a". */
  let events: string[];
  let arrays: Set<ArrayBufferLike>;
  let onWrite: () => void;
  beforeEach(async () => {
    gpu = await openGpu();
    events = [];
    arrays = new Set();
    onWrite = () => {};
    const write = gpu.memory.write.bind(gpu.memory);
    vi.spyOn(gpu.memory, "write").mockImplementation((to, offset, data) => {
      events.push(`wrote ${NAMES[(data as Uint8Array)[0]!]}`);
      write(to, offset, data);
      onWrite();
    });
  });
  afterEach(() => gpu.close());

  /** A file of five tensors one behind the other; every byte of the i-th is i. Its source reads into arrays that it is given, unless `fresh`. */
  function checkpoint(options: { failing?: string; fresh?: boolean } = {}) {
    const fill = (offset: number, into: Uint8Array): Uint8Array => {
      const name = NAMES[offset / BYTES]!;
      events.push(`read ${name}`);
      if (name === options.failing) throw new Error(`cannot read ${name}`);
      return into.fill(offset / BYTES);
    };
    const source: ByteSource = {
      name: "file",
      size: NAMES.length * BYTES,
      read: async (offset, length) => fill(offset, new Uint8Array(length)),
      ...(!options.fresh && {
        readInto: async (offset, into) => {
          arrays.add(into.buffer);
          fill(offset, into);
        },
      }),
    };
    const tensors = new Map(
      NAMES.map((name, i): [string, TensorEntry] => {
        const info = { name, dtype: "BF16", shape: [ROWS, INNER], begin: i * BYTES, end: (i + 1) * BYTES } as const;
        return [name, { info, source }];
      }),
    );
    return { tensors, metadata: new Map(), files: [], close: async () => {} };
  }

  const weightsOf = (options: Parameters<typeof checkpoint>[0] = {}, signal?: AbortSignal) =>
    GpuWeights.of(gpu, checkpoint(options), { format: "auto", signal, onBytes: () => {} });

  /** Asks for matrices, in this order. */
  const ask = (weights: GpuWeights, names: readonly string[]): Promise<Matrix[]> =>
    weights.load((w) => names.map((name) => w.matrix(name, ROWS, INNER)));

  /** Whether a matrix holds the tensor's bytes, looked at in its first and last words. */
  async function expectTensor({ label, parts }: Matrix): Promise<void> {
    for (const { buffer, rows } of parts) {
      for (const at of [0, rows * INNER * 2 - 4]) {
        expect(new Uint8Array(await gpu.memory.read(buffer, at, 4))).toEqual(new Uint8Array(4).fill(NAMES.indexOf(label)));
      }
    }
  }

  it("are read when all have been asked for, in the file's order", async () => {
    const matrices = await weightsOf().load((w) => {
      const asked = ["d", "a", "b"].map((name) => w.matrix(name, ROWS, INNER));
      expect(events).toEqual([]);
      return asked;
    });
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read a", "read b", "read d"]);
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("the next two reads are under way when one's bytes are written, in three arrays", async () => {
    await ask(weightsOf(), NAMES);
    const before = (event: string) => events.slice(0, events.indexOf(event)).filter((each) => /^read/.test(each)).length;
    expect(NAMES.map((name) => before(`wrote ${name}`))).toEqual([3, 4, 5, 5, 5]);
    expect(arrays.size).toBe(3);
  });

  it("a source that gives arrays of its own is read ahead too", async () => {
    const matrices = await ask(weightsOf({ fresh: true }), ["a", "b", "c"]);
    expect(events.slice(0, 4)).toEqual(["read a", "read b", "read c", "wrote a"]);
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("one tensor may become rows of several matrices, and more be asked for afterwards", async () => {
    const weights = weightsOf();
    const matrices = await ask(weights, ["b", "b"]);
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read b"]);
    for (const matrix of matrices) await expectTensor(matrix);
    const [later] = await ask(weights, ["a"]);
    await expectTensor(later!);
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read b", "read a"]);
  });

  it("a read that fails is reported in its turn: what lies before is written, nothing behind it is read", async () => {
    await expect(ask(weightsOf({ failing: "b" }), NAMES)).rejects.toThrow("cannot read b");
    expect(events).toEqual(["read a", "read b", "read c", "wrote a"]);
  });

  it("a read that fails of what nobody asked for is never begun", async () => {
    const matrices = await ask(weightsOf({ failing: "b" }), ["a", "c"]);
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("an abort stops reading and writing", async () => {
    const abort = new AbortController();
    onWrite = () => abort.abort(new Error("enough"));
    await expect(ask(weightsOf({}, abort.signal), NAMES)).rejects.toThrow("enough");
    expect(events).toEqual(["read a", "read b", "read c", "wrote a"]);
  });

  it("too little memory is reported once, when all has been asked for and nothing is read", async () => {
    const scoped = vi.spyOn(gpu.memory, "scoped").mockImplementation(async (what, work) => {
      await work();
      throw new EngineError("out-of-memory", what);
    });
    await expect(ask(weightsOf(), NAMES)).rejects.toMatchObject({ code: "out-of-memory" });
    expect(scoped).toHaveBeenCalledOnce();
    expect(gpu.memory.entries().map(({ label }) => label)).toEqual(expect.arrayContaining(NAMES));
    expect(events).toEqual([]);
  });

  it("a checkpoint that lacks a tensor is refused before any matrix is read", async () => {
    const config = parseConfig(fixture("tiny/tiny-qwen/config.json"));
    const shapes = checkpointTensors(config);
    const missing = "language_model.model.norm.weight"; // the head could be missing: it would be the embedding
    const rest = shapes.filter(({ name }) => name !== missing);
    const files = memoryFiles({ "model.safetensors": syntheticFile(rest, 0) });
    const origin = fileTensors(gpu, await openWeights(files));
    const stream = vi.spyOn(origin, "stream");
    const load = loadModel(gpu, () => origin, config, { format: "auto", maxContext: 64, kv: "f16" });
    await expect(load).rejects.toMatchObject({ code: "bad-weights", message: expect.stringContaining(missing) });
    expect(stream).not.toHaveBeenCalled();
  });
});

describe("vectors and scales on their way to the GPU", () => {
  let gpu: Gpu;
  beforeEach(async () => {
    gpu = await openGpu();
  });
  afterEach(() => gpu.close());

  const dtypes = { F32: 4, BF16: 2, F16: 2, I8: 1, U8: 1 } as const;

  /** A file of tensors one behind the other, from byte 2 on; byte i of the file is a hash of i. `reads` has where its reads began and ended. */
  function checkpoint(shapes: readonly (readonly [name: string, dtype: keyof typeof dtypes, shape: readonly number[]])[]) {
    const bytes = (from: number, length: number): Uint8Array<ArrayBuffer> => {
      const out = new Uint8Array(length);
      for (let i = 0; i < length; i++) out[i] = (Math.imul(from + i, 0x9e3779b1) >>> 20) & 0x3b; // no bits that make a NaN of anything
      return out;
    };
    const reads: [begin: number, end: number][] = [];
    const read: ByteSource["read"] = async (offset, length) => {
      reads.push([offset, offset + length]);
      return bytes(offset, length);
    };
    const source: ByteSource = { name: "file", size: 2 ** 40, read };
    let end = 2;
    const tensors = new Map<string, TensorEntry>();
    for (const [name, dtype, shape] of shapes) {
      const begin = end;
      end += shape.reduce((product, size) => product * size, dtypes[dtype]);
      tensors.set(name, { source, info: { name, dtype, shape, begin, end } });
    }
    /** Bytes of a tensor, from an offset on. */
    const bytesOf = (name: string, offset: number, length: number): Uint8Array<ArrayBuffer> =>
      bytes(tensors.get(name)!.info.begin + offset, length);
    return { reads, bytesOf, weights: GpuWeights.of(gpu, { tensors, metadata: new Map(), files: [], close: async () => {} }, OPTIONS) };
  }

  const OPTIONS = { format: "auto", onBytes: () => {} } as const;

  const read = async (buffer: GPUBuffer, offset: number, length: number) => new Uint8Array(await gpu.memory.read(buffer, offset, length));

  const halves = (bytes: Uint8Array<ArrayBuffer>): Uint16Array => new Uint16Array(bytes.buffer);
  const bf16 = (bytes: Uint8Array<ArrayBuffer>): number[] => [...widenBf16(halves(bytes))];

  it("vectors are read together with the matrices around them, whatever their dtype and where they begin", async () => {
    const file = checkpoint([
      ["m", "BF16", [4, 4]],
      ["a", "BF16", [3]],
      ["b", "F16", [5]],
      ["c", "F32", [1, 2]],
      ["n", "BF16", [2, 4]],
    ]);
    const { weights, reads, bytesOf } = file;
    const { matrix, one, all, onCpu } = await weights.load((w) => {
      const declared = {
        matrix: w.matrix("n", 2, 4),
        one: w.vector("a", 3),
        all: w.vectors([
          ["c", [1, 2]],
          ["a", [3]],
          ["b", [5]],
        ]),
        onCpu: w.values("b", [5]),
      };
      w.matrix("m", 4, 4);
      expect(reads).toEqual([]);
      return declared;
    });
    expect(reads).toEqual([[2, 2 + 32 + 6 + 10 + 8 + 16]]);
    expect(await read(matrix.parts[0]!.buffer as GPUBuffer, 0, 16)).toEqual(bytesOf("n", 0, 16));
    const a = bf16(bytesOf("a", 0, 6));
    const valuesOf = async ({ buffer, length }: Vector) => [...new Float32Array(await gpu.memory.read(buffer, 0, 4 * length))];
    expect(await valuesOf(one)).toEqual(a);
    const b = widenF16(halves(bytesOf("b", 0, 10)));
    expect(await valuesOf(all)).toEqual([...new Float32Array(bytesOf("c", 0, 8).buffer), ...a, ...b]);
    expect(onCpu).toEqual(b);
  });

  it("a vector that is larger than a read arrives whole, on the GPU and on the CPU", async () => {
    const length = CHUNK_BYTES / 2 + 1000;
    const { weights, reads, bytesOf } = checkpoint([["v", "BF16", [length]]]);
    const { vector, onCpu } = await weights.load((w) => ({ vector: w.vector("v", length), onCpu: w.values("v", [length]) }));
    expect(reads).toHaveLength(2);
    for (const first of [0, CHUNK_BYTES / 2 - 4, length - 8]) {
      const values = new Float32Array(await gpu.memory.read(vector.buffer as GPUBuffer, 4 * first, 32));
      expect([...values]).toEqual(bf16(bytesOf("v", 2 * first, 16)));
      expect([...onCpu.subarray(first, first + 8)]).toEqual([...values]);
    }
  });

  it("a vector of another shape, or that is missing, is refused when it is asked for", () => {
    const { weights } = checkpoint([["v", "F32", [8]]]);
    expect(() => weights.vector("v", 9)).toThrow('tensor "v" has shape [8], needs [9]');
    expect(() => weights.vector("w", 9)).toThrow('tensor "w" is missing');
  });

  // Rows of scales that are whole words, and those that end within one: 6 bytes.
  it.each([64, 96])("the scales of two tensors of K = %d become those of one matrix in parts, in the order of its rows", async (inner) => {
    const rowBytes = inner / 16;
    const { weights, reads, bytesOf } = checkpoint([
      ["q", "I8", [3, inner]],
      ["q.scales", "F16", [3, inner / 32]],
      ["k", "I8", [4, inner]],
      ["k.scales", "F16", [4, inner / 32]],
    ]);
    vi.spyOn(gpu.memory, "maxBinding", "get").mockReturnValue(3 * inner); // three rows a part
    const swapped = [
      { from: 0, to: 1, rows: 3 },
      { from: 3, to: 0, rows: 1 },
    ];
    const { parts } = await weights.load((w) => {
      const matrix = w.matrices(
        [
          { name: "q", rows: 3 },
          { name: "k", rows: 4, blocks: swapped },
        ],
        inner,
      );
      vi.restoreAllMocks();
      return matrix;
    });
    expect(reads).toHaveLength(1);
    expect(parts.map(({ rows }) => rows)).toEqual([3, 3, 1]);
    const order = [...[0, 1, 2].map((row) => ["q", row] as const), ...[3, 0, 1, 2].map((row) => ["k", row] as const)];
    for (const { rowStart, rows, buffer, scales } of parts) {
      for (let row = 0; row < rows; row++) {
        const [name, at] = order[rowStart + row]!;
        expect(await read(buffer as GPUBuffer, row * inner, inner)).toEqual(bytesOf(name, at * inner, inner));
        const whole = await read(scales as GPUBuffer, 0, 4 * Math.ceil((rows * rowBytes) / 4));
        expect(whole.subarray(row * rowBytes, (row + 1) * rowBytes)).toEqual(bytesOf(`${name}.scales`, at * rowBytes, rowBytes));
      }
    }
  });
});
