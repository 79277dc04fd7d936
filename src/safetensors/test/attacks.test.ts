import { describe, expect, test } from "vitest";
import { type ByteSource, memorySource, parseHeader, parseIndex, readHeader, SafetensorsError } from "../index.ts";
import { ATTACKS, INDEX_ATTACKS } from "./corpus.ts";
import { entry, rawFile, utf8 } from "./files.ts";

const A = entry("F32", "[1]", 0, 4);

function refusal(run: () => unknown): SafetensorsError {
  try {
    run();
  } catch (error) {
    if (error instanceof SafetensorsError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("malformed files are refused", () => {
  test("the corpus has no two attacks of one name", () => {
    expect(new Set(ATTACKS.map(([name]) => name)).size).toBe(ATTACKS.length);
    expect(ATTACKS.length).toBeGreaterThan(60);
  });

  test.each(ATTACKS)("%s", async (_, file, says, tensor) => {
    const error = refusal(() => parseHeader(file, file.length, "x.safetensors"));
    expect(error.message).toContain(says);
    expect(error.message.startsWith('"x.safetensors": ')).toBe(true);
    expect(error.file).toBe("x.safetensors");
    expect(error.tensor).toBe(tensor);
    if (tensor !== undefined) expect(error.message).toContain(`tensor "${tensor}"`);
    expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}]/u); // one line
    expect(error.message.length).toBeLessThan(500);
    // The reader says the same as the parser.
    await expect(readHeader(memorySource("x.safetensors", file))).rejects.toMatchObject({ message: error.message });
  });

  test("the same files become good by undoing the fault", () => {
    for (const good of [
      rawFile(`{"a":${A}}`, 4),
      rawFile(`{"a":${A}}   `, 4), // padding
      rawFile(`{"b":${entry("F32", "[1]", 4, 8)},"a":${A}}`, 8), // any order
      rawFile(`{"w":${entry("U8", "[0,4294967296,4294967296]", 0, 0)}}`), // an empty product does not overflow
      rawFile(`{"e":${entry("F32", "[0]", 4, 4)},"a":${A},"f":${entry("F32", "[3,0]", 0, 0)}}`, 4), // empty tensors at both ends
      rawFile(`{"\\ud83d\\ude00":${A}}`, 4), // a whole surrogate pair
      rawFile(`{ "a" :\t${A}\n}`, 4), // white space inside
      rawFile("{}"),
    ]) {
      expect(() => parseHeader(good, good.length, "x")).not.toThrow();
    }
  });
});

describe("claims cost nothing", () => {
  /** Claims to be huge; gives a header that claims a length; counts what is asked for. */
  function claiming(size: number, start: Uint8Array): ByteSource & { asked: number[] } {
    const asked: number[] = [];
    return {
      name: "huge",
      size,
      asked,
      async read(offset, length) {
        asked.push(length);
        return start.slice(offset, offset + length);
      },
    };
  }

  test("an impossible header length is refused after 9 bytes", async () => {
    const source = claiming(2 ** 45, rawFile("{}", 8, 2n ** 40n));
    await expect(readHeader(source)).rejects.toThrow("claims a header of 1099511627776 bytes");
    expect(source.asked).toEqual([9]);
  });

  test("a foreign file is refused after 9 bytes, however large a header it claims", async () => {
    const source = claiming(2 ** 45, rawFile("<", 8, 99_999_999n));
    await expect(readHeader(source)).rejects.toThrow("begins with byte 0x3c");
    expect(source.asked).toEqual([9]);
  });

  test("a header is read in pieces of at most 64 MiB, and a short one is told", async () => {
    const source = claiming(2 ** 45, rawFile("{}", 8, 99_999_999n));
    await expect(readHeader(source)).rejects.toThrow("a read at byte 0 gave 18 bytes, needs 67108864");
    expect(Math.max(...source.asked)).toBeLessThanOrEqual(64 * 2 ** 20);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1.5, -1, 2 ** 53])("a source of size %s is refused", async (size) => {
    await expect(readHeader(claiming(size, rawFile("{}")))).rejects.toThrow(`its size is given as ${size}`);
  });
});

test("names in messages are shortened and escaped, and whole in the fields", () => {
  const name = `\u001b[31m\u202e"${"x".repeat(5000)}`;
  const file = rawFile(`{${JSON.stringify(name)}:1}`);
  const error = refusal(() => parseHeader(file, file.length, "dir\n.safetensors"));
  expect(error.tensor).toBe(name);
  expect(error.file).toBe("dir\n.safetensors");
  expect(error.message).toContain('"dir\\u{000a}.safetensors": tensor "\\u{001b}[31m\\u{202e}\\"xxx');
  expect(error.message).toContain('…" (5007 characters): its entry is 1');
  expect(error.message.length).toBeLessThan(300);
});

describe("malformed indexes are refused", () => {
  test.each(INDEX_ATTACKS)("%s", (_, text, says, tensor) => {
    const error = refusal(() => parseIndex(typeof text === "string" ? utf8(text) : text, "model.safetensors.index.json"));
    expect(error.message).toContain(says);
    expect(error).toMatchObject({ file: "model.safetensors.index.json", tensor });
  });

  test("a good index: shards once and sorted, metadata with nothing lost", () => {
    const text =
      '{ "metadata": {"total_size": 12.5e9, "n": 3, "big": 9007199254740993, "x": [true, null, {"y": "z"}]},\n' +
      ' "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "__proto__": "m-1.safetensors"}, "other": [1] }\n';
    const index = parseIndex(utf8(text), "i");
    expect(index.shards).toEqual(["m-1.safetensors", "m-2.safetensors"]);
    expect([...index.weightMap]).toEqual([
      ["b", "m-2.safetensors"],
      ["a", "m-1.safetensors"],
      ["__proto__", "m-1.safetensors"],
    ]);
    expect([...index.metadata]).toEqual([
      ["total_size", { number: "12.5e9" }],
      ["n", 3],
      ["big", { number: "9007199254740993" }],
      ["x", [true, null, new Map([["y", "z"]])]],
    ]);
  });
});
