import { open } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  type ByteSource,
  type Directory,
  memorySource,
  openCheckpoint,
  readPieces,
  readTensor,
  SafetensorsError,
  type TensorEntry,
} from "../index.ts";
import { bytesFile, concat, fileOf, indexFile, memoryDirectory, pattern } from "./files.ts";

const INDEX = "model.safetensors.index.json";
const ONE = "model-1.safetensors";
const TWO = "model-2.safetensors";

describe("openCheckpoint", () => {
  test("a single file", async () => {
    const { directory, open } = memoryDirectory({ "model.safetensors": await bytesFile("a", "b") });
    const checkpoint = await openCheckpoint(directory);
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
    expect(checkpoint.files.map(({ name }) => name)).toEqual(["model.safetensors"]);
    expect(await readTensor(checkpoint.tensors.get("b")!)).toEqual(pattern(4, 1));
    expect(open.size).toBe(1);
    await checkpoint.close();
    await checkpoint.close();
    expect(open.size).toBe(0);
  });

  test("shards: every tensor from its own file, metadata merged, the index closed", async () => {
    const shard = (name: string, seed: number, metadata: [string, string][]) =>
      fileOf([{ name, dtype: "F32", shape: [seed], data: () => pattern(4 * seed, seed) }], new Map(metadata));
    const { directory, open } = memoryDirectory({
      [INDEX]: indexFile({ b: TWO, a: ONE }),
      [ONE]: await shard("a", 1, [["format", "pt"]]),
      [TWO]: await shard("b", 2, [
        ["format", "np"],
        ["more", "x"],
      ]),
    });
    const { tensors, files, metadata, close } = await openCheckpoint(directory);
    expect([...tensors.keys()]).toEqual(["a", "b"]);
    expect(files.map(({ name }) => name)).toEqual([ONE, TWO]);
    expect([...metadata]).toEqual([
      ["format", "pt"],
      ["more", "x"],
    ]);
    expect(await readTensor(tensors.get("a")!)).toEqual(pattern(4, 1));
    expect(await readTensor(tensors.get("b")!)).toEqual(pattern(8, 2));
    expect([...open]).toEqual([ONE, TWO]);
    await close();
    expect(open.size).toBe(0);
  });

  test("a single file beside an index: the file, as transformers does, whether the old shards are there or not", async () => {
    const old = { [INDEX]: indexFile({ b: TWO, a: ONE }), "model.safetensors": await bytesFile("new") };
    const shardsOf: Record<string, Uint8Array>[] = [{}, { [ONE]: await bytesFile("a"), [TWO]: await bytesFile("b") }];
    for (const shards of shardsOf) {
      const { directory, open } = memoryDirectory({ ...old, ...shards });
      const { tensors, close } = await openCheckpoint(directory);
      expect([...tensors.keys()]).toEqual(["new"]);
      expect([...open]).toEqual(["model.safetensors"]);
      await close();
      expect(open.size).toBe(0);
    }
  });

  test("a file that is damaged is closed again", async () => {
    const { directory, open } = memoryDirectory({ "model.safetensors": new Uint8Array(4) });
    await expect(openCheckpoint(directory)).rejects.toThrow("has 4 bytes");
    expect(open.size).toBe(0);
  });

  test("many shards keep their order", async () => {
    const names = Array.from({ length: 21 }, (_, i) => `m-${String(i).padStart(2, "0")}.safetensors`);
    const files = Object.fromEntries(await Promise.all(names.map(async (name, i) => [name, await bytesFile(`t${i}`)] as const)));
    const index = indexFile(Object.fromEntries(names.map((name, i) => [`t${i}`, name]).reverse()));
    const { tensors, files: opened } = await openCheckpoint(memoryDirectory({ [INDEX]: index, ...files }).directory);
    expect(opened.map(({ name }) => name)).toEqual(names);
    expect([...tensors.keys()]).toEqual(names.map((_, i) => `t${i}`));
  });

  const cases: [name: string, files: () => Promise<Record<string, Uint8Array>>, expected: object][] = [
    [
      "an empty folder",
      async () => ({}),
      { file: "model.safetensors", message: `"model.safetensors": no such file, and no ${INDEX} either` },
    ],
    [
      "a shard that is missing",
      async () => ({ [INDEX]: indexFile({ a: ONE, b: TWO }), [ONE]: await bytesFile("a") }),
      { file: TWO, message: `"${TWO}": ${INDEX} lists this shard, but there is no such file` },
    ],
    [
      "a tensor missing from its shard",
      async () => ({ [INDEX]: indexFile({ a: ONE, gone: ONE }), [ONE]: await bytesFile("a") }),
      { file: ONE, tensor: "gone", message: `"${ONE}": tensor "gone": ${INDEX} says it lies in this shard, but it does not` },
    ],
    [
      "a tensor that the index does not list",
      async () => ({ [INDEX]: indexFile({ a: ONE }), [ONE]: await bytesFile("a", "extra") }),
      { file: ONE, tensor: "extra", message: `"${ONE}": tensor "extra": it lies in this shard, but ${INDEX} does not list it` },
    ],
    [
      "a tensor that the index maps elsewhere",
      async () => ({ [INDEX]: indexFile({ a: ONE, b: TWO, c: TWO }), [ONE]: await bytesFile("a", "b"), [TWO]: await bytesFile("c") }),
      { file: ONE, tensor: "b", message: `"${ONE}": tensor "b": it lies in this shard, but ${INDEX} says "${TWO}"` },
    ],
    [
      "a tensor in two shards",
      async () => ({ [INDEX]: indexFile({ a: ONE, b: TWO }), [ONE]: await bytesFile("a", "b"), [TWO]: await bytesFile("b") }),
      { file: TWO, tensor: "b", message: `"${TWO}": tensor "b": it lies in this shard and in "${ONE}" too` },
    ],
    [
      "a truncated shard",
      async () => ({ [INDEX]: indexFile({ a: ONE, b: TWO }), [ONE]: await bytesFile("a"), [TWO]: (await bytesFile("b")).slice(0, -1) }),
      { file: TWO, tensor: "b", message: expect.stringContaining("the file holds only 3 bytes of data") },
    ],
    [
      "a shard outside the folder",
      async () => ({ [INDEX]: indexFile({ a: "../x.safetensors" }), "../x.safetensors": await bytesFile("a") }),
      { file: INDEX, tensor: "a", message: expect.stringContaining("not a plain file name") },
    ],
  ];

  test.each(cases)("refuses %s, and closes everything", async (_, files, expected) => {
    const { directory, open, asked } = memoryDirectory(await files());
    await expect(openCheckpoint(directory)).rejects.toMatchObject({ name: "SafetensorsError", ...expected });
    expect(open.size).toBe(0);
    expect(asked).not.toContain("../x.safetensors");
  });

  test("refuses an index of more than 100 MB unread", async () => {
    const huge: ByteSource = { name: INDEX, size: 100_000_001, read: () => Promise.reject(new Error("it was read")) };
    const { directory, open } = memoryDirectory({ [INDEX]: huge });
    await expect(openCheckpoint(directory)).rejects.toThrow("the index has 100000001 bytes, the limit is 100000000");
    expect(open.size).toBe(0);
  });

  test("what the directory or a source throws passes through, and everything is closed", async () => {
    const offline = new Error("offline");
    const broken: ByteSource = { name: TWO, size: 100, read: () => Promise.reject(offline) };
    const { directory, open } = memoryDirectory({ [INDEX]: indexFile({ a: ONE, b: TWO }), [ONE]: await bytesFile("a"), [TWO]: broken });
    await expect(openCheckpoint(directory)).rejects.toBe(offline);
    expect(open.size).toBe(0);
    const closed: Directory = { open: () => Promise.reject(offline) };
    await expect(openCheckpoint(closed)).rejects.toBe(offline);
  });

  test("a signal stops it, and everything is closed", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const files = { [INDEX]: indexFile({ a: ONE }), [ONE]: await bytesFile("a") };
    const { directory, open } = memoryDirectory(files);
    const stopping: Directory = {
      async open(name) {
        if (name === ONE) controller.abort(reason);
        return directory.open(name);
      },
    };
    await expect(openCheckpoint(stopping, { signal: controller.signal })).rejects.toBe(reason);
    expect(open.size).toBe(0);
    await expect(openCheckpoint(directory, { signal: controller.signal })).rejects.toBe(reason);
  });
});

describe("reading a tensor", () => {
  /** A tensor of `length` bytes that begins at byte 16 of its file. */
  function entryOf(length: number, read?: ByteSource["read"]): TensorEntry & { asked: [number, number][] } {
    const file = memorySource("f.safetensors", concat(new Uint8Array(16), pattern(length, 3)));
    const asked: [number, number][] = [];
    const source: ByteSource = {
      ...file,
      read(offset, size, signal) {
        asked.push([offset, size]);
        return (read ?? file.read)(offset, size, signal);
      },
    };
    return { info: { name: "w", dtype: "F32", shape: [length / 4], begin: 16, end: 16 + length }, source, asked };
  }

  test("pieces lie end to end, never split an element, and come only as they are asked for", async () => {
    const entry = entryOf(40);
    const pieces: [number, number][] = [];
    for await (const { offset, bytes } of readPieces(entry, { pieceBytes: 18 })) {
      expect(entry.asked.length).toBe(pieces.length + 1);
      expect(bytes).toEqual(pattern(40, 3).subarray(offset, offset + bytes.length));
      pieces.push([offset, bytes.length]);
    }
    expect(pieces).toEqual([
      [0, 16],
      [16, 16],
      [32, 8],
    ]);
    expect(entry.asked).toEqual([
      [16, 16],
      [32, 16],
      [48, 8],
    ]);
  });

  test("pieces go in turn into the arrays that are given, where the source can", async () => {
    const entry = entryOf(40);
    const { source } = entry;
    source.readInto = async (offset, into) => into.set(await source.read(offset, into.length));
    const into = [new Uint8Array(18), new Uint8Array(18)];
    let i = 0;
    for await (const { offset, bytes } of readPieces(entry, { pieceBytes: 18, into })) {
      expect(bytes.buffer).toBe(into[i++ % 2]!.buffer);
      expect(bytes).toEqual(pattern(40, 3).subarray(offset, offset + bytes.length));
    }
    expect(i).toBe(3);
    for await (const { bytes } of readPieces(entryOf(8), { pieceBytes: 18, into })) expect(bytes).toEqual(pattern(8, 3)); // by read alone
    await expect(readPieces(entry, { pieceBytes: 20, into }).next()).rejects.toThrow(RangeError);
  });

  test("pieces smaller than an element hold one element", async () => {
    const offsets: number[] = [];
    for await (const { offset } of readPieces(entryOf(12), { pieceBytes: 1 })) offsets.push(offset);
    expect(offsets).toEqual([0, 4, 8]);
  });

  test("by default no read asks for more than 64 MiB", async () => {
    const size = 5 * 2 ** 30; // no such bytes exist: the source makes each piece up
    const piece = new Uint8Array(64 * 2 ** 20);
    const asked: number[] = [];
    const source: ByteSource = {
      name: "f",
      size: size + 16,
      async read(_, length) {
        asked.push(length);
        return piece.subarray(0, length);
      },
    };
    const info = { name: "w", dtype: "U8", shape: [size], begin: 16, end: size + 16 } as const;
    let total = 0;
    for await (const { offset, bytes } of readPieces({ info, source })) {
      expect(offset).toBe(total);
      total += bytes.length;
    }
    expect(total).toBe(size);
    expect(Math.max(...asked)).toBe(64 * 2 ** 20);
  });

  test.each([0, -1, 1.5, Number.NaN, 64 * 2 ** 20 + 1])("pieceBytes %s is refused", async (pieceBytes) => {
    await expect(readPieces(entryOf(4), { pieceBytes }).next()).rejects.toThrow(RangeError);
  });

  test("an empty tensor reads nothing", async () => {
    const entry = entryOf(0);
    expect(await readTensor(entry)).toEqual(new Uint8Array(0));
    expect((await readPieces(entry).next()).done).toBe(true);
    expect(entry.asked).toEqual([]);
  });

  test.each([
    ["short", -1, "gave 7 bytes, needs 8"],
    ["long", 1, "gave 9 bytes, needs 8"],
  ])("a %s read is an error that names the tensor", async (_, by, says) => {
    let reads = 0;
    const entry = entryOf(32, async (_, length) => new Uint8Array(length + (++reads === 3 ? by : 0)));
    const received: number[] = [];
    const drain = async () => {
      for await (const { offset } of readPieces(entry, { pieceBytes: 8 })) received.push(offset);
    };
    await expect(drain()).rejects.toMatchObject({
      name: "SafetensorsError",
      file: "f.safetensors",
      tensor: "w",
      message: `"f.safetensors": tensor "w": a read at byte 32 ${says}`,
    });
    expect(received).toEqual([0, 8]);
    await expect(readTensor(entryOf(8, async () => new Uint8Array(3)))).rejects.toThrow(
      'tensor "w": a read at byte 16 gave 3 bytes, needs 8',
    );
  });

  test("readTensor refuses a tensor over its limit, unread", async () => {
    const entry = entryOf(40);
    await expect(readTensor(entry, { maxBytes: 39 })).rejects.toThrow('tensor "w": has 40 bytes, the limit for reading it at once is 39');
    expect(entry.asked).toEqual([]);
    expect(await readTensor(entry, { maxBytes: 40 })).toEqual(pattern(40, 3));
  });

  test("a signal stops between pieces and reaches the source", async () => {
    const controller = new AbortController();
    const seen: unknown[] = [];
    const entry = entryOf(40, async (_, length, signal) => {
      seen.push(signal);
      return new Uint8Array(length);
    });
    const pieces = readPieces(entry, { pieceBytes: 8, signal: controller.signal });
    await pieces.next();
    controller.abort(new Error("stop"));
    await expect(pieces.next()).rejects.toThrow("stop");
    expect(seen).toEqual([controller.signal]);
  });

  test("memorySource gives copies and refuses to leave the file", async () => {
    const bytes = pattern(8, 1);
    const source = memorySource("m", bytes);
    (await source.read(0, 8)).fill(0);
    expect(bytes).toEqual(pattern(8, 1));
    await expect(source.read(4, 5)).rejects.toThrow(SafetensorsError);
    await expect(source.read(-1, 2)).rejects.toThrow("leaves the file of 8 bytes");
  });
});

test("the nano model that comes with the repository", async () => {
  const root = new URL("../../../weights/nano/", import.meta.url);
  const directory: Directory = {
    async open(name) {
      if (name !== "model.safetensors") return undefined;
      const handle = await open(fileURLToPath(new URL(name, root)));
      return {
        name,
        size: (await handle.stat()).size,
        async read(offset, length) {
          const { buffer, bytesRead } = await handle.read(new Uint8Array(length), 0, length, offset);
          return buffer.subarray(0, bytesRead);
        },
        close: () => handle.close(),
      };
    },
  };
  const checkpoint = await openCheckpoint(directory);
  try {
    expect(checkpoint.metadata).toEqual(new Map([["format", "pt"]]));
    const embedding = checkpoint.tensors.get("language_model.model.embed_tokens.weight")!;
    expect(embedding.info).toMatchObject({ dtype: "BF16", shape: [1056, 256] });
    const whole = await readTensor(embedding);
    expect(whole.length).toBe(1056 * 256 * 2);

    const parts: Uint8Array[] = [];
    for await (const { bytes } of readPieces(embedding, { pieceBytes: 100_000 })) parts.push(bytes);
    expect(parts.length).toBe(6);
    expect(Buffer.compare(concat(...parts), whole)).toBe(0);

    // A trained embedding: finite bf16 numbers around 0, which a wrong offset would not give.
    const words = new Uint16Array(whole.buffer, whole.byteOffset, whole.length / 2);
    const values = Float32Array.from(words, (word) => new Float32Array(new Uint32Array([word << 16]).buffer)[0]!);
    const rms = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    expect(rms).toBeGreaterThan(1e-3);
    expect(rms).toBeLessThan(10);
  } finally {
    await checkpoint.close();
  }
});
