import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadModel } from "../../src/api/model-load.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { ByteSource, TensorEntry } from "../../src/safetensors/index.ts";
import type { Matrix } from "../../src/tensor/tensor.ts";
import { openWeights, Weights } from "../../src/weights/checkpoint.ts";
import { fileOrigin } from "../../src/weights/origin.ts";
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

  /** Asks for matrices, in this order. */
  async function ask(names: readonly string[], options: Parameters<typeof checkpoint>[0] = {}, signal?: AbortSignal) {
    const weights = Weights.of(gpu, checkpoint(options), { format: "auto", signal, onBytes: () => {} });
    const matrices: Matrix[] = [];
    for (const name of names) matrices.push(await weights.matrix(name, ROWS, INNER));
    return { weights, matrices };
  }

  /** Whether a matrix holds the tensor's bytes, looked at in its first and last words. */
  async function expectTensor({ label, parts }: Matrix): Promise<void> {
    for (const { buffer, rows } of parts) {
      for (const at of [0, rows * INNER * 2 - 4]) {
        expect(new Uint8Array(await gpu.memory.read(buffer, at, 4))).toEqual(new Uint8Array(4).fill(NAMES.indexOf(label)));
      }
    }
  }

  it("are read when all have been asked for, in the file's order", async () => {
    const { weights, matrices } = await ask(["d", "a", "b"]);
    expect(events).toEqual([]);
    await weights.finish();
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read a", "read b", "read d"]);
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("the next two reads are under way when one's bytes are written, in three arrays", async () => {
    const { weights } = await ask(NAMES);
    await weights.finish();
    const before = (event: string) => events.slice(0, events.indexOf(event)).filter((each) => /^read/.test(each)).length;
    expect(NAMES.map((name) => before(`wrote ${name}`))).toEqual([3, 4, 5, 5, 5]);
    expect(arrays.size).toBe(3);
  });

  it("a source that gives arrays of its own is read ahead too", async () => {
    const { weights, matrices } = await ask(["a", "b", "c"], { fresh: true });
    await weights.finish();
    expect(events.slice(0, 4)).toEqual(["read a", "read b", "read c", "wrote a"]);
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("one tensor may become rows of several matrices, and more be asked for afterwards", async () => {
    const { weights, matrices } = await ask(["b", "b"]);
    await weights.finish();
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read b"]);
    for (const matrix of matrices) await expectTensor(matrix);
    const later = await weights.matrix("a", ROWS, INNER);
    await weights.finish();
    await expectTensor(later);
    expect(events.filter((event) => /^read/.test(event))).toEqual(["read b", "read a"]);
  });

  it("a read that fails is told in its turn: what lies before is written, nothing behind it is read", async () => {
    const { weights } = await ask(NAMES, { failing: "b" });
    await expect(weights.finish()).rejects.toThrow("cannot read b");
    expect(events).toEqual(["read a", "read b", "read c", "wrote a"]);
  });

  it("a read that fails of what nobody asked for is never begun", async () => {
    const { weights, matrices } = await ask(["a", "c"], { failing: "b" });
    await weights.finish();
    for (const matrix of matrices) await expectTensor(matrix);
  });

  it("an abort stops reading and writing", async () => {
    const abort = new AbortController();
    const { weights } = await ask(NAMES, {}, abort.signal);
    onWrite = () => abort.abort(new Error("enough"));
    await expect(weights.finish()).rejects.toThrow("enough");
    expect(events).toEqual(["read a", "read b", "read c", "wrote a"]);
  });

  it("a checkpoint that lacks a tensor is refused before any matrix is read", async () => {
    const config = parseConfig(fixture("tiny/tiny-qwen/config.json"));
    const shapes = checkpointTensors(config);
    const missing = shapes.at(-1)!.name;
    const files = memoryFiles({ "model.safetensors": syntheticFile(shapes.slice(0, -1), 0) });
    const origin = fileOrigin(gpu, await openWeights(files));
    const stream = vi.spyOn(origin, "stream");
    const load = loadModel(gpu, origin, config, { format: "auto", maxContext: 64, kv: "f16" });
    await expect(load).rejects.toMatchObject({ code: "bad-weights", message: expect.stringContaining(missing) });
    expect(stream).not.toHaveBeenCalled();
  });
});
