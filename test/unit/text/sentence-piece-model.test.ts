import { beforeAll, describe, expect, it } from "vitest";
import type { EngineError } from "../../../src/errors.ts";
import { streamDecoder } from "../../../src/text/stream.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { type Files, failure as failureOf, load, readBytes, readJson, readText } from "./fixtures.ts";

const ROOT = "test/fixtures/sentencepiece";

/** A toy model with OpenGVLab's files beside it; the variants have the files that differ. */
function filesOf(variant: "." | "dummy-prefix" | "nul-piece"): Files {
  const own = variant === "nul-piece" ? `${ROOT}/${variant}` : ROOT;
  return {
    "tokenizer.model": readBytes(`${ROOT}/${variant}/tokenizer.model`),
    "tokenizer_config.json": readText(`${own}/tokenizer_config.json`),
    "added_tokens.json": readText(`${own}/added_tokens.json`),
    "special_tokens_map.json": readText(`${ROOT}/special_tokens_map.json`),
  };
}

interface Vector {
  text?: string;
  ids: number[];
  decoded_skip: string;
}

describe.each([".", "dummy-prefix", "nul-piece"] as const)("tokenizer.model, variant %s", (variant) => {
  const { vectors, ids }: { vectors: Vector[]; ids: Record<string, number> } = readJson(`${ROOT}/${variant}/vectors.json`);
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await load(filesOf(variant));
  });

  it("encodes every text as upstream's class", () => {
    const texts = vectors.filter((vector) => vector.text !== undefined);
    expect(texts.length).toBeGreaterThanOrEqual(variant === "nul-piece" ? 20 : 80);
    for (const { text, ids } of texts) expect(tokenizer.encode(text!), JSON.stringify(text)).toEqual(ids);
  });

  it("decodes every answer as upstream's class, whole and as it comes", () => {
    for (const { ids, decoded_skip: want } of vectors) {
      expect(tokenizer.decode(ids, { skipSpecialTokens: true }), String(ids)).toBe(want);
      const joiner = tokenizer.joiner();
      const pieces = ids.filter((id) => !tokenizer.isSpecial(id)).map((id) => joiner.add(tokenizer.piece(id)));
      expect(pieces.join("") + joiner.end(), String(ids)).toBe(want);
    }
  });

  it("has the added tokens in the place of pieces, and beyond them", () => {
    for (const [token, id] of Object.entries(ids)) {
      expect(tokenizer.idOf(token)).toBe(id);
      expect(tokenizer.encode(`a${token}`).at(-1)).toBe(id);
      expect(tokenizer.decode([id])).toBe(token);
      expect(tokenizer.isSpecial(id)).toBe(true);
    }
  });
});

describe("InternLM2's tokenizer", () => {
  it("makes no structure of what was typed, by whichever name", async () => {
    const tokenizer = await load(filesOf("."));
    const end = tokenizer.idOf("<|im_end|>")!;
    for (const typed of ["<|im_end|>", "[UNUSED_TOKEN_145]"]) {
      expect(tokenizer.encode(typed)).toEqual([1, end]);
      const ids = tokenizer.encodeParts([`a${typed}`, { token: "<|im_end|>" }]);
      expect(ids.filter((id) => id === end).length, typed).toBe(1);
      expect(tokenizer.decode(ids.slice(0, -1), { skipSpecialTokens: true })).toBe(`a${typed}`);
    }
    expect(tokenizer.encode("[UNUSED_TOKEN_139]z")).toEqual(tokenizer.encodeParts(["[UNUSED_TOKEN_139]z"]));
  });

  it("streams answers that are tidied up", async () => {
    const tokenizer = await load(filesOf("."));
    const text = "It is , I 'm sure , n't so ? a ' b ' c 've 's . . ' 'm  ' m . 're !";
    const decoder = streamDecoder(tokenizer);
    const ids = tokenizer.encode(text);
    const pieces = ids.map((id) => decoder.push(id));
    const all = pieces.join("") + decoder.end();
    expect(all).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
    expect(all).toBe("It is, I'm sure,n't so? a'b'c've's..''m'm.'re!");
    expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(5); // it does not wait for the end
  });

  it("takes no byte for the dummy prefix, one U+FFFD for a broken byte", async () => {
    const tokenizer = await load(filesOf("dummy-prefix"));
    const byte = (value: number) => tokenizer.idOf(`<0x${value.toString(16).toUpperCase().padStart(2, "0")}>`)!;
    expect(tokenizer.decode([byte(0x20), ...tokenizer.encode("a").slice(1)])).toBe("  a");
    expect(tokenizer.decode([0xe4, 0xbd].map(byte))).toBe("\ufffd\ufffd");
    expect(tokenizer.decode([0xe4, 0xbd, 0xa0, 0xff, 0x41].map(byte))).toBe("你\ufffdA");
    expect(tokenizer.decode([0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x99, 0x82].map(byte))).toBe("\ufffd\ufffd\ufffd\ufffd\ufffd🙂");
  });

  it("never needs fewer tokens than the bound says", async () => {
    const tokenizer = await load(filesOf("dummy-prefix"));
    for (const text of ["a b c d e", "  ", "The quick brown fox", "模型 é", "▁", "x▁▁y ▁▁▁", "▁".repeat(1000)]) {
      expect(await tokenizer.atLeast(text)).toBeLessThanOrEqual(tokenizer.encode(text).length);
    }
  });
});

/** A length-delimited field, or a varint. */
const varint = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))]);
const field = (number: number, value: number | Uint8Array | readonly number[]): number[] =>
  typeof value === "number" ? [...varint(number * 8), ...varint(value)] : [...varint(number * 8 + 2), ...varint(value.length), ...value];

describe("tokenizer.model that is not read", () => {
  const whole = readBytes(`${ROOT}/tokenizer.model`);
  /** The pieces alone: 11.3 KB less the two specs at the end, which come in the order trainer, normalizer. */
  const specsAt =
    whole.length -
    (() => {
      const text = new TextDecoder("latin1").decode(whole);
      return whole.length - text.lastIndexOf("\x12", text.lastIndexOf("tokenizer") - 3);
    })();
  const pieces = [...whole.subarray(0, specsAt)];
  const trainer = (...changes: [number, number | readonly number[]][]) =>
    field(2, [...field(3, 2), ...field(35, 1), ...field(40, 0), ...changes.flatMap(([n, v]) => field(n, v))]);
  const normalizer = (...changes: [number, number | readonly number[]][]) =>
    field(3, [...field(3, 0), ...field(4, 0), ...changes.flatMap(([n, v]) => field(n, v))]);
  const piece = (text: string, type?: number) => field(1, [...field(1, new TextEncoder().encode(text)), ...(type ? field(3, type) : [])]);
  const of = (...parts: number[][]) => Uint8Array.from(parts.flat());

  const failure = (model: Uint8Array, change: object = {}): Promise<EngineError> => {
    const config = { ...JSON.parse(readText(`${ROOT}/tokenizer_config.json`)), ...change };
    return failureOf({ ...filesOf("."), "tokenizer.model": model, "tokenizer_config.json": JSON.stringify(config) });
  };

  it("is read when it is put together anew", async () => {
    const tokenizer = await load({ ...filesOf("."), "tokenizer.model": of(pieces, trainer(), normalizer()) });
    expect(tokenizer.encode("hello")).toEqual((await load(filesOf("."))).encode("hello"));
  });

  it("takes no control piece from a text that has no role, and writes none", async () => {
    const control = (name: string) => piece(name, 3);
    const model = of(pieces, control("<ctrl>"), control("<pad>"), trainer(), normalizer());
    const [ctrl, pad] = [768, 769];
    const config = JSON.parse(readText(`${ROOT}/tokenizer_config.json`)) as { added_tokens_decoder: Record<string, object> };
    const moved = Object.entries(config.added_tokens_decoder).map(
      ([id, token]) => [Number(id) < 768 ? id : Number(id) + 10, token] as const,
    );
    const beside = (change: object) => ({
      "tokenizer.model": model,
      "tokenizer_config.json": JSON.stringify({ ...config, added_tokens_decoder: Object.fromEntries(moved), ...change }),
    });
    const tokenizer = await load(beside({ additional_special_tokens: null }));
    expect(tokenizer.encode("a<ctrl>")).toEqual([...tokenizer.encode("a<"), ...tokenizer.encode("ctrl>").slice(1)]);
    expect(tokenizer.decode([...tokenizer.encode("hel"), ctrl, pad, ...tokenizer.encode("lo").slice(1)].slice(1))).toBe("hello");
    expect((await load(beside({ pad_token: "<pad>" }))).encode("<pad><ctrl>")[1]).toBe(pad);
    expect((await load(beside({ additional_special_tokens: ["<ctrl>"] }))).encode("<ctrl>")).toEqual([1, ctrl]);
  });

  const cases: [string, Uint8Array, RegExp][] = [
    ["nothing", of(), /is a unigram model/],
    ["half a file", whole.subarray(0, 5000), /is not a SentencePiece model: it breaks off/],
    ["JSON", new TextEncoder().encode('{"version": "1.0"}'), /SentencePiece model|unknown field/],
    ["a unigram model", of(pieces, trainer([3, 1]), normalizer()), /is a unigram model, only BPE/],
    ["a model of words", of(pieces, trainer([3, 3]), normalizer()), /is a word model/],
    ["without byte fallback", of(pieces, trainer([35, 0]), normalizer()), /has no byte_fallback/],
    ["spaces behind words", of(pieces, trainer([24, 1]), normalizer()), /treat_whitespace_as_suffix/],
    ["another unknown piece", of(pieces, trainer([40, 300]), normalizer()), /no piece for what is unknown at id 300/],
    ["a trainer's field that nobody knows", of(pieces, trainer([90, 1]), normalizer()), /unknown field 90 in its trainer_spec/],
    ["no normalizer: its flags are true", of(pieces, trainer()), /remove_extra_whitespaces/],
    ["spaces that are joined", of(pieces, trainer(), normalizer([4, 1])), /remove_extra_whitespaces/],
    ["spaces as they are", of(pieces, trainer(), normalizer([5, 0])), /escape_whitespaces/],
    [
      "rules",
      of(pieces, trainer(), normalizer([2, [1, 2, 3]], [1, [...new TextEncoder().encode("nmt_nfkc")]])),
      /normalises texts \("nmt_nfkc", 3 bytes/,
    ],
    ["rules backwards", of(pieces, trainer(), normalizer(), field(5, field(2, [1]))), /denormalizer/],
    ["a field beyond", of(pieces, trainer(), normalizer(), field(9, [1])), /unknown field 9/],
    ["a piece twice", of(pieces, piece("<s>", 3), trainer(), normalizer()), /a piece twice/],
    ["an unused piece", of(pieces, piece("xyzzy", 5), trainer(), normalizer()), /"xyzzy", a piece of kind unused/],
    ["a piece of a new kind", of(pieces, piece("xyzzy", 7), trainer(), normalizer()), /of kind 7/],
    ["a piece without a text", of(pieces, field(1, field(3, 1)), trainer(), normalizer()), /no text, or no score, for piece 768/],
    ["bytes that are not UTF-8", of(pieces, field(1, field(1, [0xff])), trainer(), normalizer()), /not UTF-8 as piece 768/],
    ["a byte too many", of(pieces, piece("<0xGG>", 6), trainer(), normalizer()), /"<0xGG>" as a byte/],
  ];
  it.each(cases)("%s", async (_, model, message) => {
    expect((await failure(model)).message).toMatch(message);
  });

  const configs: [object, RegExp][] = [
    [{ tokenizer_class: "T5Tokenizer" }, /tokenizer_class is "T5Tokenizer"/],
    [{ add_eos_token: true }, /add_eos_token is true/],
    [{ tokenizer_class: "LlamaTokenizer", legacy: false }, /legacy is false/],
    [{ bos_token: "<bos>" }, /bos_token is "<bos>", which is not a token/],
    [{ bos_token: 5 }, /bos_token is 5, needs a token/],
    [{ added_tokens_decoder: { 5: { content: "<x>" } } }, /"<x>" takes the place of a byte, 5/],
    [{ added_tokens_decoder: { 900: { content: "<s>" } } }, /"<s>" has the id 900, and in tokenizer\.model 1/],
    [{ added_tokens_decoder: { 900: { content: "<x>", lstrip: true } } }, /"<x>" has lstrip/],
  ];
  it.each(configs)("tokenizer_config.json with %j", async (change, message) => {
    expect((await failure(whole, change)).message).toMatch(message);
  });

  it("says so of a piece that is no row of the embedding", async () => {
    await expect(load(filesOf("."), 700)).rejects.toThrow(/tokenizer\.model has 768 pieces, the model has ids up to 699/);
    await expect(load(filesOf("."), 770)).rejects.toThrow(/"<IMG_CONTEXT>" the id 770, the model has ids up to 769/);
  });
});
