import { describe, expect, test } from "vitest";
import { type ByteSource, memorySource, parseHeader, parseIndex, readHeader, SafetensorsError } from "../index.ts";
import { concat, entry, rawFile, utf8 } from "./files.ts";

function refusal(run: () => unknown): SafetensorsError {
  try {
    run();
  } catch (error) {
    if (error instanceof SafetensorsError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

const BIG = 2 ** 53;
const A = entry("F32", "[1]", 0, 4);

// name, file, what the message must say, the tensor it must name
type Attack = [name: string, file: Uint8Array, says: string, tensor?: string];

const ATTACKS: Attack[] = [
  ["empty file", new Uint8Array(0), "has 0 bytes, needs at least 8"],
  ["seven bytes", new Uint8Array(7), "has 7 bytes, needs at least 8"],
  ["header length 2^63", rawFile("{}", 0, 2n ** 63n), "claims a header of 9223372036854775808 bytes, the limit is 100000000"],
  ["header length 2^64 - 1", rawFile("{}", 0, 2n ** 64n - 1n), "claims a header of 18446744073709551615 bytes"],
  ["header length 2^53 + 1", rawFile("{}", 0, 2n ** 53n + 1n), "claims a header of 9007199254740993 bytes"],
  ["header length one over the limit", rawFile("{}", 0, 100_000_001n), "claims a header of 100000001 bytes, the limit is 100000000"],
  ["header length past the end", rawFile("{}", 0, 100_000_000n), "claims a header of 100000000 bytes, but only 2 follow"],
  ["header length one past the end", rawFile("{}", 0, 3n), "claims a header of 3 bytes, but only 2 follow"],
  ["empty header", rawFile(""), "the header is empty"],
  ["header cut by its length", rawFile(`{"a":${A}}`, 4, 20n), "bad JSON", "a"],
  ["a zip file", concat(utf8("PK\u0003\u0004"), new Uint8Array(60)), "claims a header of 67324752 bytes, but only 56 follow"],
  ["an HTML page", utf8("<!DOCTYPE html><html></html>"), "the limit is 100000000"],
  ["a git-lfs pointer", utf8("version https://git-lfs.github.com/spec/v1\n"), "the limit is 100000000"],
  ["invalid UTF-8", rawFile(concat(utf8('{"'), new Uint8Array([0xff, 0xfe]), utf8(`":${A}}`)), 4), "not valid UTF-8"],
  ["overlong UTF-8", rawFile(concat(utf8('{"'), new Uint8Array([0xc0, 0xaf]), utf8(`":${A}}`)), 4), "not valid UTF-8"],
  [
    "UTF-8 of half a surrogate pair",
    rawFile(concat(utf8('{"'), new Uint8Array([0xed, 0xa0, 0x80]), utf8(`":${A}}`)), 4),
    "not valid UTF-8",
  ],
  ["byte order mark", rawFile(`\ufeff{"a":${A}}`, 4), 'begins with byte 0xef, needs to begin with "{"'],
  ["leading space", rawFile(` {"a":${A}}`, 4), "begins with byte 0x20"],
  ["an array", rawFile("[]"), "begins with byte 0x5b"],
  ["null", rawFile("null"), "begins with byte 0x6e"],
  ["open brace alone", rawFile("{"), "has nothing, needs a key in double quotes"],
  ["two documents", rawFile("{}{}"), 'has "{" after the end of the document'],
  ["padding of line breaks", rawFile("{}\n\n\n"), 'has "\\u{000a}" after the end'],
  ["padding of NUL", rawFile("{}\0\0"), "after the end of the document"],
  ["trailing comma", rawFile(`{"a":${A},}`, 4), 'has "}", needs a key'],
  ["missing comma", rawFile(`{"a":${A} "b":${A}}`, 4), 'has "\\"", needs "," or "}"'],
  ["single quotes", rawFile("{'a':1}"), 'has "\'", needs a key in double quotes'],
  ["a comment", rawFile("{/* hi */}"), 'has "/", needs a key'],
  ["NaN", rawFile('{"a":NaN}'), 'bad JSON at character 5: has "N", needs a value', "a"],
  ["control character in a name", rawFile(`{"a\nb":${A}}`, 4), "a control character in a string"],
  ["name without end", rawFile('{"abc'), "a string does not end"],
  ["unknown escape", rawFile(`{"\\x41":${A}}`, 4), 'a bad escape in the string "\\\\x41"'],
  ["bad unicode escape", rawFile(`{"\\u00g0":${A}}`, 4), 'a bad escape in the string "\\\\u00g0"'],
  ["name that ends in an escape", rawFile('{"abc\\'), "a string does not end"],
  ["name that ends in half an escape", rawFile('{"abc\\u00"'), "a bad escape"],
  ["escaped line break", rawFile(`{"a\\\n":${A}}`, 4), "a bad escape"],
  ["escaped closing quote", rawFile('{"a\\":1}'), "a string does not end"],
  ["half a surrogate pair, escaped", rawFile(`{"\\ud800":${A}}`, 4), "half a surrogate pair"],
  [
    "more than 2^20 keys",
    rawFile(`{"__metadata__":{${Array.from({ length: 2 ** 20 + 1 }, (_, i) => `"${i}":""`).join(",")}}}`),
    "more than 1048576 keys",
  ],
  ["deep nesting of arrays", rawFile(`{"a":${"[".repeat(1_000_000)}`), "its entry is a list, needs an object", "a"],
  ["deep nesting of objects", rawFile('{"a":'.repeat(200_000)), 'unknown key "a"', "a"],
  ["a million empty objects", rawFile(`{"a":[${"{},".repeat(1_000_000)}{}]}`), "its entry is a list", "a"],
  ["duplicate tensor", rawFile(`{"a":${A},"a":${entry("F32", "[1]", 4, 8)}}`, 8), 'duplicate key "a"'],
  ["duplicate tensor, one of them escaped", rawFile(`{"a":${A},"\\u0061":${A}}`, 4), 'duplicate key "a"'],
  [
    "duplicate key in an entry",
    rawFile('{"w":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4),
    'duplicate key "dtype"',
    "w",
  ],
  ["duplicate metadata", rawFile('{"__metadata__":{},"__metadata__":{}}'), 'duplicate key "__metadata__"'],
  ["duplicate key in the metadata", rawFile('{"__metadata__":{"k":"1","k":"2"}}'), 'duplicate key "k"'],
  ["__proto__ as a list", rawFile('{"__proto__":[]}'), "its entry is a list, needs an object", "__proto__"],
  [
    "__proto__ inside an entry",
    rawFile('{"a":{"__proto__":{"dtype":"F32"},"shape":[1],"data_offsets":[0,4]}}', 4),
    'unknown key "__proto__"',
    "a",
  ],
  ["metadata as a list", rawFile('{"__metadata__":[]}'), "__metadata__ is a list, needs an object of strings"],
  ["metadata null", rawFile('{"__metadata__":null}'), "__metadata__ is null, needs an object"],
  ["metadata not strings", rawFile('{"__metadata__":{"format":"pt","step":7}}'), '__metadata__ "step" is 7, needs a string'],
  ["metadata nested", rawFile('{"__metadata__":{"a":{}}}'), '__metadata__ "a" is an object, needs a string'],
  ["entry is a number", rawFile('{"w":12}'), "its entry is 12, needs an object", "w"],
  ["entry is null", rawFile('{"w":null}'), "its entry is null", "w"],
  ["no dtype", rawFile('{"w":{"shape":[1],"data_offsets":[0,4]}}', 4), 'its entry has no "dtype"', "w"],
  ["no shape", rawFile('{"w":{"dtype":"F32","data_offsets":[0,4]}}', 4), 'its entry has no "shape"', "w"],
  ["no offsets", rawFile('{"w":{"dtype":"F32","shape":[1]}}', 4), 'its entry has no "data_offsets"', "w"],
  ["an unknown key", rawFile('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}}', 4), 'unknown key "strides"', "w"],
  ["unknown dtype", rawFile(`{"w":${entry("F12", "[1]", 0, 4)}}`, 4), 'unknown dtype "F12"', "w"],
  ["lower-case dtype", rawFile(`{"w":${entry("f32", "[1]", 0, 4)}}`, 4), 'unknown dtype "f32"', "w"],
  ["dtype from Object.prototype", rawFile(`{"w":${entry("toString", "[1]", 0, 4)}}`, 4), 'unknown dtype "toString"', "w"],
  ["dtype not a string", rawFile('{"w":{"dtype":5,"shape":[1],"data_offsets":[0,4]}}', 4), "dtype is 5, needs a string", "w"],
  [
    "sub-byte dtype",
    rawFile(`{"w":${entry("F4", "[8]", 0, 4)}}`, 4),
    'dtype "F4" packs elements below a byte, which is not supported',
    "w",
  ],
  ["shape not a list", rawFile(`{"w":${entry("F32", '"1"', 0, 4)}}`, 4), 'shape is the string "1", needs a list', "w"],
  ["negative dimension", rawFile(`{"w":${entry("F32", "[-1]", 0, 4)}}`, 4), 'shape holds the number "-1", needs plain integers', "w"],
  ["minus zero", rawFile(`{"w":${entry("F32", "[-0]", 0, 0)}}`), 'shape holds the number "-0"', "w"],
  ["fractional dimension", rawFile(`{"w":${entry("F32", "[1.5]", 0, 4)}}`, 4), 'shape holds the number "1.5"', "w"],
  ["dimension written 1.0", rawFile(`{"w":${entry("F32", "[1.0]", 0, 4)}}`, 4), 'shape holds the number "1.0"', "w"],
  ["dimension written 1e0", rawFile(`{"w":${entry("F32", "[1e0]", 0, 4)}}`, 4), 'shape holds the number "1e0"', "w"],
  ["leading zero", rawFile(`{"w":${entry("F32", "[01]", 0, 4)}}`, 4), "a number is malformed (a leading zero", "w"],
  ["number without digits after the dot", rawFile(`{"w":${entry("F32", "[1.]", 0, 4)}}`, 4), "a number is malformed", "w"],
  ["hexadecimal", rawFile(`{"w":${entry("F32", "[0x1]", 0, 4)}}`, 4), 'has "x", needs "," or "]"', "w"],
  ["dimension as a string", rawFile(`{"w":${entry("F32", '["1"]', 0, 4)}}`, 4), 'shape holds the string "1"', "w"],
  ["dimension true", rawFile(`{"w":${entry("F32", "[true]", 0, 4)}}`, 4), "shape holds true", "w"],
  ["dimension 2^53", rawFile(`{"w":${entry("F32", `[${BIG}]`, 0, 4)}}`, 4), `shape holds the number "${BIG}"`, "w"],
  ["dimension of a million digits", rawFile(`{"w":${entry("F32", `[${"9".repeat(1_000_000)}]`, 0, 4)}}`, 4), "(1000000 characters)", "w"],
  ["65 dimensions", rawFile(`{"w":${entry("F32", `[${"1,".repeat(64)}1]`, 0, 4)}}`, 4), "shape has more than 64 numbers", "w"],
  [
    "shape product 2^64 wraps to 0",
    rawFile(`{"w":${entry("U8", "[4294967296,4294967296]", 0, 0)}}`),
    "overflows: more than 2^53 - 1 bytes",
    "w",
  ],
  ["shape × dtype overflows", rawFile(`{"w":${entry("F64", `[${2 ** 51}]`, 0, 0)}}`), `shape [${2 ** 51}] of F64 overflows`, "w"],
  ["overflow hidden by a zero", rawFile(`{"w":${entry("U8", "[4294967296,4294967296,0]", 0, 0)}}`), "overflows", "w"],
  ["claims 8 PB", rawFile(`{"w":${entry("F64", `[${2 ** 49}]`, 0, 2 ** 52)}}`, 8), "the file holds only 8 bytes of data", "w"],
  [
    "shape larger than span",
    rawFile(`{"w":${entry("F32", "[2]", 0, 4)}}`, 4),
    "shape [2] of F32 needs 8 bytes, but data_offsets span 4",
    "w",
  ],
  [
    "shape smaller than span",
    rawFile(`{"w":${entry("F16", "[1]", 0, 4)}}`, 4),
    "shape [1] of F16 needs 2 bytes, but data_offsets span 4",
    "w",
  ],
  ["one offset", rawFile('{"w":{"dtype":"F32","shape":[1],"data_offsets":[4]}}', 4), "data_offsets has 1 numbers, needs 2", "w"],
  ["three offsets", rawFile('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}', 4), "data_offsets has 3 numbers, needs 2", "w"],
  ["offsets reversed", rawFile(`{"w":${entry("F32", "[1]", 4, 0)}}`, 4), "begin at 4, after their end 0", "w"],
  ["negative offset", rawFile(`{"w":${entry("F32", "[1]", -4, 0)}}`, 4), 'data_offsets holds the number "-4"', "w"],
  ["offset 2^63 - 1", rawFile(`{"w":${entry("F32", "[1]", 0, "9223372036854775807")}}`, 4), "data_offsets holds the number", "w"],
  [
    "offset past the end of the file",
    rawFile(`{"w":${entry("F32", "[2]", 0, 8)}}`, 4),
    "ends at byte 8, but the file holds only 4 bytes",
    "w",
  ],
  [
    "hole at the start",
    rawFile(`{"w":${entry("F32", "[1]", 4, 8)}}`, 8),
    "begins at byte 4, but the data begins at 0: a hole of 4 bytes",
    "w",
  ],
  ["hole in the middle", rawFile(`{"a":${A},"b":${entry("F32", "[1]", 8, 12)}}`, 12), '"a" ends at 4: a hole of 4 bytes', "b"],
  ["overlap", rawFile(`{"a":${A},"b":${entry("F32", "[1]", 2, 6)}}`, 6), '"a" ends at 4: an overlap of 2 bytes', "b"],
  ["two tensors share their bytes", rawFile(`{"a":${A},"b":${A}}`, 4), '"a" ends at 4: an overlap of 4 bytes', "b"],
  ["empty tensor inside another", rawFile(`{"a":${A},"b":${entry("F32", "[0]", 2, 2)}}`, 4), "an overlap of 2 bytes", "b"],
  ["bytes after the last tensor", rawFile(`{"a":${A}}`, 5), "the tensors end at byte 4 of the data, but the file holds 5: 1 too many"],
  ["data without tensors", rawFile("{}", 16), "the file holds 16: 16 too many"],
  ["truncated data", rawFile(`{"a":${A},"b":${entry("F32", "[4]", 4, 20)}}`, 19), "the file holds only 19 bytes of data", "b"],
];

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

const INDEX_ATTACKS: [name: string, text: string | Uint8Array, says: string, tensor?: string][] = [
  ["empty", "", "has nothing, needs"],
  ["not an object", "[]", 'has "[", needs "{"'],
  ["byte order mark", '\ufeff{"weight_map":{"a":"x"}}', "byte order mark"],
  ["invalid UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), "the index is not valid UTF-8"],
  ["no weight_map", '{"metadata":{}}', 'the index has no "weight_map"'],
  ["weight_map a list", '{"weight_map":[]}', "weight_map is a list, needs an object"],
  ["weight_map empty", '{"weight_map":{}}', "weight_map is empty"],
  ["weight_map twice", '{"weight_map":{"a":"x"},"weight_map":{"a":"y"}}', 'duplicate key "weight_map"'],
  ["tensor twice", '{"weight_map":{"a":"x","a":"y"}}', 'duplicate key "a"'],
  ["metadata a string", '{"metadata":"x","weight_map":{"a":"x"}}', 'metadata is the string "x", needs an object'],
  ["shard a number", '{"weight_map":{"a":1}}', "its shard is 1, needs a file name", "a"],
  ["shard in the parent folder", '{"weight_map":{"a":"../x"}}', "it begins with a dot", "a"],
  ["shard is the parent", '{"weight_map":{"a":".."}}', "it begins with a dot", "a"],
  ["shard in a folder", '{"weight_map":{"a":"d/x"}}', 'it contains "/"', "a"],
  ["absolute shard", '{"weight_map":{"a":"/etc/passwd"}}', 'it contains "/"', "a"],
  ["climbing from a folder", '{"weight_map":{"a":"x/../../y"}}', 'it contains "/"', "a"],
  ["backslash", '{"weight_map":{"a":"x\\\\y"}}', 'it contains "\\\\"', "a"],
  ["drive letter", '{"weight_map":{"a":"C:x.safetensors"}}', 'it contains ":"', "a"],
  ["URL", '{"weight_map":{"a":"http:x"}}', 'it contains ":"', "a"],
  ["escaped slash", '{"weight_map":{"a":"x%2fy"}}', 'it contains "%"', "a"],
  ["query", '{"weight_map":{"a":"x?y"}}', 'it contains "?"', "a"],
  ["NUL", '{"weight_map":{"a":"x\\u0000.safetensors"}}', 'it contains "\\u{0000}"', "a"],
  ["empty shard name", '{"weight_map":{"a":""}}', "it is empty", "a"],
  ["endless shard name", `{"weight_map":{"a":"${"x".repeat(256)}"}}`, "it has 256 characters, the limit is 255", "a"],
  ["second shard bad", '{"weight_map":{"a":"x","b":"./x"}}', "it begins with a dot", "b"],
  ["deep nesting", `{"extra":${"[".repeat(100_000)}`, "nested deeper than 32"],
  ["too many values", `{"extra":[${"{},".repeat(100_000)}{}]}`, "more than 16384 values"],
  ["trailing data", '{"weight_map":{"a":"x"}} x', 'has "x" after the end'],
];

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
