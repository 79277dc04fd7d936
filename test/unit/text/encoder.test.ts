import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encoderOf } from "../../../src/text/encoder.ts";
import { GPT2_WORDS, LLAMA3_WORDS, QWEN2_WORDS } from "../../../src/text/patterns.ts";
import { fewer } from "../../shared/quick.ts";
import { tokenizerFiles } from "./fixtures.ts";
import { SENTENCE_PIECE } from "./sentence-piece.ts";

type Json = Record<string, unknown>;

const tiny = JSON.parse(tokenizerFiles("tiny").fast["tokenizer.json"] as string) as Json;
const piece = JSON.parse(SENTENCE_PIECE) as Json;
const model = (of: Json, change: Json): Json => ({ model: { ...(of.model as Json), ...change } });

const byteLevel = { type: "ByteLevel", use_regex: false };
const split = (pattern: Json, more: Json = {}): Json => ({
  pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern, behavior: "Isolated", ...more }, byteLevel] },
});
const added = (...tokens: Json[]): Json => ({ added_tokens: tokens.map((token, i) => ({ id: 2000 + i, special: false, ...token })) });
const BESIDE = added(
  { content: "<a>", lstrip: true },
  { content: "<a>b", rstrip: true },
  { content: "É", normalized: true },
  { content: "e\u0301<", normalized: true, lstrip: true, rstrip: true },
  { content: " x", special: true },
  { content: ".*" },
);

/** Each part in every way that check-json.ts lets pass. */
const KINDS: Record<string, Json> = {
  "Qwen2's": tiny,
  "with tokens that take space, overlap, are normalized": { ...tiny, ...BESIDE },
  "the same without a normalizer": { ...tiny, ...BESIDE, normalizer: null },
  "words of Llama 3": { ...tiny, ...split({ Regex: LLAMA3_WORDS }) },
  "words of GPT-2, named": { ...tiny, ...split({ Regex: GPT2_WORDS }) },
  "words of GPT-2, by default": { ...tiny, pre_tokenizer: { type: "ByteLevel" } },
  "a space in front": { ...tiny, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } },
  "matches alone": { ...tiny, ...split({ Regex: QWEN2_WORDS }, { invert: true }) },
  "white space removed": { ...tiny, ...split({ Regex: "\\s+" }, { behavior: "Removed", invert: false }) },
  "cut at a text": { ...tiny, ...split({ String: "a." }, { invert: false }) },
  "one long word": { ...tiny, pre_tokenizer: byteLevel },
  "whole words first": { ...tiny, ...model(tiny, { ignore_merges: true }) },
  "merges as pairs": { ...tiny, ...model(tiny, { merges: ((tiny.model as Json).merges as string[]).map((each) => each.split(" ")) }) },
  SentencePiece: piece,
  "SentencePiece without bytes, unknown ones fused": {
    ...piece,
    ...model(piece, { byte_fallback: false, unk_token: "<unk>", fuse_unk: true }),
  },
  "SentencePiece without bytes, unknown ones apart": {
    ...piece,
    ...model(piece, { byte_fallback: false, unk_token: "<unk>", fuse_unk: false }),
  },
  "SentencePiece without an unknown token": { ...piece, ...model(piece, { byte_fallback: false, unk_token: null }) },
  ...Object.fromEntries(
    ["always", "first", "never"].map((scheme) => [
      `Metaspace, ${scheme}`,
      { ...piece, normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: scheme } },
    ]),
  ),
};

const SNIPPETS = [
  "don't",
  "I'LL",
  "'ſ",
  " ",
  "  ",
  "\n",
  "\r\n",
  "\t",
  "\u0085",
  "\ufeff",
  "\u3000",
  "e\u0301",
  "é",
  "É",
  "<",
  "<a>",
  "<a>b",
  "a.",
  ".*",
];
const MORE = [
  "<|im_start|>",
  "<img>",
  "<s>",
  "▁",
  " x",
  "12345",
  "你好",
  "🙂",
  "👩‍👩‍👧",
  "\ud800",
  "the",
  "ing",
  "Hello",
  "aaaa",
  "$&",
  "__proto__",
];
const text = fc.oneof(
  { weight: 4, arbitrary: fc.array(fc.constantFrom(...SNIPPETS, ...MORE), { maxLength: 24 }).map((parts) => parts.join("")) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
);

describe("the encoder gives the ids that @huggingface/tokenizers gives", () => {
  it.each(Object.entries(KINDS))("%s", (kind, json) => {
    const [ours, theirs] = [encoderOf(structuredClone(json)), new Tokenizer(structuredClone(json) as never, {})];
    // White space of GPT-2's own words, and beside tokens that take it, is JavaScript's there; the Rust library's, and ours, is Unicode's.
    const own = /by default|in front|take space|the same without/.test(kind)
      ? text.map((each) => each.replace(/[\u0085\ufeff]/g, ""))
      : text;
    fc.assert(
      fc.property(own, (each) => {
        expect(ours.encode(each)).toEqual(theirs.encode(each).ids);
      }),
      { numRuns: fewer(150) },
    );
  });

  it("white space is Unicode's in GPT-2's words, named or not", () => {
    const [named, usual] = ["words of GPT-2, named", "words of GPT-2, by default"].map((kind) => encoderOf(structuredClone(KINDS[kind]!)));
    for (const each of ["x        \u0085", "x        \ufeff"]) expect(usual!.encode(each)).toEqual(named!.encode(each));
  });

  it("white space is Unicode's beside tokens that take it, as in the Rust library (tokenizers 0.23.2, asked for each of these)", () => {
    const ours = encoderOf({ ...tiny, ...added({ content: "<l>", lstrip: true }, { content: "<r>", rstrip: true }) });
    const [[l], [r], [x], [y]] = ["<l>", "<r>", "x", "y"].map((each) => ours.encode(each)) as [number[], number[], number[], number[]];
    const blocks = [0x0, 0x1600, 0x1800, 0x2000, 0x3000, 0xfe00]; // where space and what looks like it are
    const characters = blocks.flatMap((block) => Array.from({ length: 0x100 }, (_, i) => String.fromCharCode(block + i)));
    const taken = (text: (space: string) => string, ids: unknown[]) =>
      characters.filter((each) => String(ours.encode(text(each + each))) === String(ids)).map((each) => each.charCodeAt(0).toString(16));
    const space = "9 a b c d 20 85 a0 1680 2000 2001 2002 2003 2004 2005 2006 2007 2008 2009 200a 2028 2029 202f 205f 3000".split(" ");
    expect(taken((each) => `x${each}<l>y`, [x, l, y])).toEqual(space);
    expect(taken((each) => `x<r>${each}y`, [x, r, y])).toEqual(space);
    expect(taken((each) => `x<l>${each}y`, [x, l, y])).toEqual([]);
    expect(taken((each) => `x${each}<r>y`, [x, r, y])).toEqual([]);
    const long = `x${" ".repeat(200_000)}y`; // white space that is not at the end costs no more than other characters
    expect(ours.encode(`${long}<l>`)).toEqual([...ours.encode(long), l]);
  });

  it("a word of 200,000 characters too", () => {
    const [ours, theirs] = [encoderOf(tiny), new Tokenizer(tiny as never, {})];
    const word = "abcdefgh".repeat(25_000);
    expect(ours.encode(word)).toEqual(theirs.encode(word).ids);
  });

  it("and leaves the vocabulary of another encoder as it is", () => {
    const whole = encoderOf(tiny);
    const other = encoderOf({ ...tiny, ...added({ content: "the" }) }, whole.model);
    expect(other.encode("the")).toEqual([2000]);
    expect(whole.idOf("the")).not.toBe(2000);
    expect(whole.tokenOf(2000)).toBeUndefined();
  });
});
