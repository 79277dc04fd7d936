import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bitsPerElement,
  byteLength,
  bytesPerElement,
  DTYPES,
  type Dtype,
  encodeHeader,
  type Header,
  memorySource,
  parseHeader,
  readHeader,
  readTensor,
  SafetensorsError,
  type TensorToWrite,
  writeSafetensors,
} from "../index.ts";
import { entry, fileOf, memorySink, pattern, rawFile, utf8 } from "./files.ts";

const tensor = (name: string, dtype: Dtype, shape: number[], seed = 0): TensorToWrite => ({
  name,
  dtype,
  shape,
  data: () => pattern(byteLength(dtype, shape)!, seed),
});

/** What must hold of every header that was accepted. */
function expectTiled({ tensors, dataStart }: Header, fileSize: number): void {
  let end = dataStart;
  for (const [name, info] of tensors) {
    expect(info.name).toBe(name);
    expect(info.begin).toBe(end);
    expect(info.end - info.begin).toBe(byteLength(info.dtype, info.shape));
    end = info.end;
  }
  expect(end).toBe(fileSize);
}

describe("round trip", () => {
  test("tensors of every dtype, a scalar, empty ones and odd names come back, with their bytes", async () => {
    const names = ["__proto__", "constructor", "", "модель.вес", "😀", 'a"b\\c\n', "\u2028"];
    const tensors = [
      ...DTYPES.map((dtype, i) => tensor(`t.${dtype}`, dtype, [3, i % 4], i)),
      ...names.map((name, i) => tensor(name, "F32", i === 0 ? [] : [i], i)),
    ];
    const metadata = new Map([
      ["format", "pt"],
      ["__proto__", "x"],
      ["ключ", '"\n\\'],
    ]);
    const bytes = await fileOf(tensors, metadata);
    const source = memorySource("f", bytes);
    const header = await readHeader(source);

    expect([...header.metadata]).toEqual([...metadata]);
    expect(header.dataStart % 8).toBe(0);
    expect(new Set(header.tensors.keys())).toEqual(new Set(tensors.map(({ name }) => name)));
    expectTiled(header, bytes.length);
    for (const { name, dtype, shape, data } of tensors) {
      const info = header.tensors.get(name)!;
      expect(info).toMatchObject({ name, dtype, shape });
      expect(await readTensor({ info, source })).toEqual(data());
    }
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });

  test("the bytes are upstream's", async () => {
    // From the tests of huggingface/safetensors, safetensors/src/tensor.rs: test_serialization and test_empty.
    const floats = new Uint8Array(new Float32Array([0, 1, 2, 3, 4, 5]).buffer);
    const bytes = await fileOf([{ name: "attn.0", dtype: "F32", shape: [1, 2, 3], data: () => floats }]);
    expect(bytes).toEqual(new Uint8Array([...rawFile('{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}'), ...floats]));
    expect(encodeHeader([])).toEqual(new Uint8Array([8, 0, 0, 0, 0, 0, 0, 0, 123, 125, 32, 32, 32, 32, 32, 32]));
    expect(encodeHeader([], new Map([["framework", "pt"]]))).toEqual(rawFile('{"__metadata__":{"framework":"pt"}}     '));
  });

  test("a header that does not align its data is accepted: alignment is the writer's courtesy", () => {
    const file = rawFile(`{"abcd":${entry("F64", "[1]", 0, 8)}}`, 8);
    expect(parseHeader(file, file.length, "x").dataStart % 8).not.toBe(0);
  });

  test("element sizes", () => {
    expect(DTYPES.map((dtype) => `${dtype}:${bytesPerElement(dtype)}`).join(" ")).toBe(
      "BOOL:1 U8:1 I8:1 F8_E5M2:1 F8_E4M3:1 F8_E8M0:1 F8_E5M2FNUZ:1 F8_E4M3FNUZ:1 I16:2 U16:2 F16:2 BF16:2 I32:4 U32:4 F32:4 C64:8 F64:8 I64:8 U64:8",
    );
    for (const dtype of DTYPES) expect(bitsPerElement(dtype)).toBe(8 * bytesPerElement(dtype));
    expect(byteLength("F32", [])).toBe(4);
    expect(byteLength("BF16", [3, 5])).toBe(30);
    expect(byteLength("U8", [2 ** 53 - 1])).toBe(2 ** 53 - 1);
    expect(byteLength("U16", [2 ** 52])).toBeUndefined();
  });
});

describe("the writer", () => {
  const sizes = (chunks: number[]) =>
    async function* () {
      for (const length of chunks) yield new Uint8Array(length).fill(7);
    };
  const spec = { name: "w", dtype: "F16", shape: [2, 3] } as const; // 12 bytes

  test("streams: each chunk is written as it comes, and the next tensor starts after the last one ended", async () => {
    const sink = memorySink();
    const events: string[] = [];
    const note = (name: string): TensorToWrite => ({
      ...spec,
      name,
      async *data() {
        events.push(`${name} starts after ${sink.parts.length} writes`);
        yield new Uint8Array(5);
        yield new Uint8Array(0);
        yield new Uint8Array(7);
      },
    });
    await writeSafetensors(sink, [note("a"), note("b")]);
    expect(sink.parts.slice(1).map(({ length }) => length)).toEqual([5, 7, 5, 7]);
    expect(events).toEqual(["a starts after 1 writes", "b starts after 3 writes"]);
    expectTiled(parseHeader(sink.bytes(), sink.bytes().length, "x"), sink.bytes().length);
  });

  test.each([
    ["too few bytes", [5, 6], "gave 11 bytes, needs 12"],
    ["too many bytes", [5, 8, 1], "gave 13 bytes or more, needs 12"],
    ["none", [], "gave 0 bytes, needs 12"],
  ])("refuses a tensor that yields %s", async (_, chunks, says) => {
    const sink = memorySink();
    const failure = writeSafetensors(sink, [{ ...spec, data: sizes(chunks) }]);
    await expect(failure).rejects.toMatchObject({ name: "SafetensorsError", tensor: "w", message: `tensor "w": ${says}` });
    const data = sink.parts.slice(1).reduce((sum, { length }) => sum + length, 0);
    expect(data).toBeLessThanOrEqual(12); // never past the tensor's own span
  });

  test.each<[string, TensorToWrite[], string]>([
    ["duplicate names", [tensor("a", "U8", [1]), tensor("a", "U8", [1])], 'tensor "a": two tensors have this name'],
    ["the reserved name", [tensor("__metadata__", "U8", [1])], "the format reserves this name"],
    ["half a surrogate pair", [tensor("a\ud800", "U8", [1])], "half a surrogate pair"],
    ["an unknown dtype", [{ ...spec, dtype: "F12" as Dtype, data: sizes([]) }], 'unknown dtype "F12"'],
    ["a negative dimension", [{ ...spec, shape: [-1], data: sizes([]) }], "shape holds -1"],
    ["a fractional dimension", [{ ...spec, shape: [1.5], data: sizes([]) }], "shape holds 1.5"],
    ["NaN", [{ ...spec, shape: [Number.NaN], data: sizes([]) }], "shape holds NaN"],
    ["overflow", [{ ...spec, shape: [2 ** 30, 2 ** 30], data: sizes([]) }], 'tensor "w": the size overflows'],
    [
      "overflow of the sum",
      ["a", "b"].map((name) => ({ name, dtype: "U8" as const, shape: [2 ** 53 - 1], data: sizes([]) })),
      'tensor "b": the size overflows',
    ],
  ])("refuses %s before it writes anything", async (_, tensors, says) => {
    const sink = memorySink();
    await expect(writeSafetensors(sink, tensors)).rejects.toThrow(says);
    expect(sink.parts).toEqual([]);
  });

  test("refuses metadata that is not text", () => {
    expect(() => encodeHeader([], new Map([["a", 1 as unknown as string]]))).toThrow('metadata "a" is a number, needs a string');
    expect(() => encodeHeader([], new Map([["a", "\udc00"]]))).toThrow("half a surrogate pair");
  });

  test("what the sink or the data throws passes through", async () => {
    const full = new Error("disk full");
    const sink = { write: async () => Promise.reject(full) };
    await expect(writeSafetensors(sink, [])).rejects.toBe(full);
    const broken: TensorToWrite = {
      ...spec,
      // biome-ignore lint/correctness/useYield: it fails before it has anything to give
      async *data() {
        throw full;
      },
    };
    await expect(writeSafetensors(memorySink(), [broken])).rejects.toBe(full);
  });
});

describe("properties", () => {
  const shapes = fc.array(fc.nat({ max: 5 }), { maxLength: 4 });
  const tensors = fc.uniqueArray(
    fc.record({ name: fc.string({ unit: "grapheme", maxLength: 12 }), dtype: fc.constantFrom(...DTYPES), shape: shapes }),
    { selector: ({ name }) => name, maxLength: 8 },
  );
  const metadata = fc
    .array(fc.tuple(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })), { maxLength: 4 })
    .map((all) => new Map(all));

  test("any valid set of tensors comes back as it was", async () => {
    await fc.assert(
      fc.asyncProperty(tensors, metadata, async (specs, meta) => {
        const bytes = await fileOf(
          specs.map(({ name, dtype, shape }, i) => tensor(name, dtype, shape, i)),
          meta,
        );
        const source = memorySource("f", bytes);
        const header = await readHeader(source);
        expect(header.metadata).toEqual(meta);
        expect(header.tensors.size).toBe(specs.length);
        expectTiled(header, bytes.length);
        for (const [i, { name, dtype, shape }] of specs.entries()) {
          const info = header.tensors.get(name)!;
          expect(info).toMatchObject({ dtype, shape });
          expect(await readTensor({ info, source })).toEqual(pattern(byteLength(dtype, shape)!, i));
        }
      }),
      { numRuns: 200 },
    );
  });

  const base = rawFile(
    `{"__metadata__":{"k":"v"},"a":${entry("F32", "[2,1]", 0, 8)},"b":${entry("U8", "[0]", 8, 8)},"c":${entry("BF16", "[3]", 8, 14)}}  `,
    14,
  );
  const token = fc.constantFrom(
    ...'{}[]:,"\\0123456789-.eE \n\0ntf\x80\xff',
    '"a"',
    "null",
    "[0,8]",
    "__proto__",
    "9007199254740993",
    '"dtype"',
  );
  const edit = fc.record({
    at: fc.nat({ max: base.length - 1 }),
    remove: fc.nat({ max: 6 }),
    insert: fc.oneof(fc.constant(""), token),
    fixLength: fc.boolean(),
  });

  test("a mutated file is either consistent or refused with SafetensorsError, never anything else", () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let bytes = base;
        for (const { at, remove, insert, fixLength } of edits) {
          bytes = new Uint8Array([...bytes.subarray(0, at), ...utf8(insert), ...bytes.subarray(at + remove)]);
          if (fixLength && bytes.length >= 22) new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 22), true);
        }
        let header: Header;
        try {
          header = parseHeader(bytes, bytes.length, "x");
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError);
          refused++;
          return;
        }
        accepted++;
        expectTiled(header, bytes.length);
      }),
      { numRuns: 5000, seed: 42 },
    );
    // The mutations are of use only if they reach both sides.
    expect(accepted).toBeGreaterThan(20);
    expect(refused).toBeGreaterThan(1000);
  });

  test("what is accepted is what JSON.parse reads, wherever JSON.parse loses nothing", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })),
        fc.constantFrom(0, 1, 3),
        (meta, indent) => {
          const text = JSON.stringify({ __metadata__: meta }, null, indent).replaceAll("/", "\\/");
          const file = rawFile(text);
          expect(parseHeader(file, file.length, "x").metadata).toEqual(new Map(Object.entries(meta)));
        },
      ),
    );
  });
});
