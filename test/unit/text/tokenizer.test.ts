import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { fewer } from "../../shared/quick.ts";
import { load, loadOnce, readJson, tokenizerFiles } from "./fixtures.ts";
import { SENTENCE_PIECE } from "./sentence-piece.ts";

const vectors: { text: string; ids: number[] }[] = readJson("test/fixtures/tokenizer/vectors.json");

/** Strings on which the two forms must agree. */
const STRINGS = [
  ...vectors.map((vector) => vector.text),
  "",
  " ",
  "\ufeffBOM",
  "a\u0000b\r\n\r\n\t  c\u3000\u0085d",
  "<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\n<box>[[1, 2]]</box><tool_call>{}</tool_call><|file_sep|><|im_end|>",
  "don't I'LL we'Re 1234567 e\u0301 가 ﬁ 👩‍👩‍👧 🇩🇪 \ud800",
  "constructor __proto__ toString end",
];

describe.each(["fast", "slow"] as const)("Qwen2.5's tokenizer from its %s form", (form) => {
  it("gives the ids of every vector, and its text back", async () => {
    const tokenizer = await loadOnce("real", form);
    expect(vectors).toHaveLength(400);
    for (const { text, ids } of vectors) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.decode(ids), text).toBe(text.normalize("NFC"));
      expect(tokenizer.decode(Uint32Array.from(ids)), text).toBe(text.normalize("NFC"));
    }
    expect(tokenizer.vocabSize).toBe(151674);
    expect(tokenizer.idOf("<|im_end|>")).toBe(151645);
    expect(tokenizer.idOf("<IMG_CONTEXT>")).toBe(151667);
    expect(tokenizer.idOf("no such token")).toBeUndefined();
  });
});

describe.each(["real", "tiny", "nano"] as const)("the two forms of the %s tokenizer", (name) => {
  it("agree on ids, texts, special tokens and pieces", async () => {
    const [fast, slow] = [await loadOnce(name, "fast"), await loadOnce(name, "slow")];
    for (const text of STRINGS) {
      const ids = fast.encode(text);
      expect(slow.encode(text), text).toEqual(ids);
      expect(slow.decode(ids, { skipSpecialTokens: true }), text).toBe(fast.decode(ids, { skipSpecialTokens: true }));
      expect(fast.decode(ids), text).toBe(text.normalize("NFC").replace(/\p{Cs}/gu, "\ufffd"));
    }
    expect(slow.vocabSize).toBe(fast.vocabSize);
    const ids = [...Array(1100).keys(), ...Array.from({ length: 40 }, (_, i) => fast.vocabSize - 35 + i)];
    expect(ids.map((id) => slow.piece(id))).toEqual(ids.map((id) => fast.piece(id)));
    expect(ids.map((id) => slow.isSpecial(id))).toEqual(ids.map((id) => fast.isSpecial(id)));
  });
});

describe("decode", () => {
  it("is the library's, for any ids of a byte-level vocabulary", async () => {
    const { fast } = tokenizerFiles("tiny");
    const tokenizer = await load(fast);
    const library = new HuggingFaceTokenizer(JSON.parse(fast["tokenizer.json"] as string), { clean_up_tokenization_spaces: false });
    const id = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 1035 }));
    fc.assert(
      fc.property(fc.array(id, { minLength: 1, maxLength: 60 }), (ids) => {
        expect(tokenizer.decode(ids)).toBe(library.decode(ids));
      }),
      { numRuns: fewer(1000) },
    );
  });
});

describe("special tokens", () => {
  const special = (tokenizer: Tokenizer) =>
    Array.from({ length: 31 }, (_, i) => 1000 + i).filter(
      (id) => tokenizer.isSpecial(id) && tokenizer.decode([id], { skipSpecialTokens: true }) === "",
    );
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const { fast, slow } = tokenizerFiles("tiny");
  const { "tokenizer.json": json } = fast;
  const { "vocab.json": vocab, "merges.txt": merges, "added_tokens.json": added, "tokenizer_config.json": config } = slow;
  const bare = { "vocab.json": vocab!, "merges.txt": merges! };

  it("are those that tokenizer_config.json lists: <box> and <img> stay in a text, as upstream", async () => {
    const tokenizer = await load(fast);
    expect(special(tokenizer)).toEqual(range(1000, 1013));
    expect(tokenizer.decode([1026, 1014, 1002, 1021], { skipSpecialTokens: true })).toBe("</quad><tool_call><|file_sep|>");
    expect(tokenizer.decode([1002])).toBe("<|im_end|>");
    expect(special(await load({ ...bare, "tokenizer_config.json": config! }))).toEqual(range(1000, 1013));
  });

  it("include <img> where the list does", async () => {
    expect(special(await load(tokenizerFiles("nano").fast))).toEqual([...range(1000, 1013), ...range(1022, 1030)]);
    expect(special(await load(tokenizerFiles("nano").slow))).toEqual([...range(1000, 1013), ...range(1022, 1030)]);
  });

  it("come from special_tokens_map.json when the configuration is missing", async () => {
    const map = { "special_tokens_map.json": slow["special_tokens_map.json"]! };
    expect(special(await load({ ...bare, ...map, "added_tokens.json": added! }))).toEqual(range(1000, 1013));
  });

  it("come from the flags of tokenizer.json, or from Qwen2's own list, when nothing lists them", async () => {
    expect(special(await load({ "tokenizer.json": json! }))).toEqual([...range(1000, 1013), ...range(1022, 1030)]);
    expect(special(await load({ ...bare, "added_tokens.json": added! }))).toEqual(range(1000, 1013));
    const flagsOnly = JSON.stringify({ ...JSON.parse(config as string), additional_special_tokens: undefined });
    expect(special(await load({ ...bare, "tokenizer_config.json": flagsOnly }))).toEqual([...range(1000, 1013), ...range(1022, 1030)]);
  });
});

describe("edges", () => {
  it("no ids and unknown ids are an empty text", async () => {
    const tokenizer = await load(tokenizerFiles("nano").fast);
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([1002], { skipSpecialTokens: true })).toBe("");
    expect(tokenizer.vocabSize).toBe(1031);
    expect(tokenizer.decode([1055, 32, 1040])).toBe("A"); // the head has 1056 rows
    expect(tokenizer.piece(1055)).toEqual(new Uint8Array(0));
  });

  it("puts the whole text in NFC before it looks for added tokens, as upstream's slow tokenizer", async () => {
    const tokenizer = await loadOnce("real", "fast");
    const ids = tokenizer.encode("<img>\u0338");
    expect(ids).not.toContain(151665);
    expect(tokenizer.decode(ids)).toBe("<img≯");
  });

  it("keeps spaces before punctuation, whatever the configuration says", async () => {
    const { fast } = tokenizerFiles("tiny");
    const config = JSON.stringify({ ...JSON.parse(fast["tokenizer_config.json"] as string), clean_up_tokenization_spaces: true });
    const tokenizer = await load({ ...fast, "tokenizer_config.json": config });
    expect(tokenizer.decode(tokenizer.encode("Yes , I do n't ."))).toBe("Yes , I do n't .");
  });

  it("reads merges.txt with CRLF, without a version, without a last newline, with a merge of #", async () => {
    const { slow } = tokenizerFiles("tiny");
    const merges = slow["merges.txt"] as string;
    const expected = (await load(slow)).encode("The quick brown fox ## in the image");
    for (const text of [merges.replaceAll("\n", "\r\n"), merges.replace(/^#version.*\n/, ""), merges.trimEnd()]) {
      expect((await load({ ...slow, "merges.txt": text })).encode("The quick brown fox ## in the image")).toEqual(expected);
    }
    const vocab = JSON.stringify({ ...JSON.parse(slow["vocab.json"] as string), "##": 2000 });
    const hashes = await load({ ...slow, "vocab.json": vocab, "merges.txt": "# #\n" });
    expect(hashes.encode("##")).toEqual([2000]);
  });
});

describe("a SentencePiece tokenizer.json", () => {
  it("puts the BOS in front and falls back to bytes", async () => {
    const tokenizer = await load({ "tokenizer.json": SENTENCE_PIECE });
    const ids = tokenizer.encode("a b é");
    expect(ids).toEqual([1, 262, 259, 261, 259, 3 + 0xc3, 3 + 0xa9]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("a b é");
    expect(tokenizer.piece(262)).toBe(" a");
    expect(tokenizer.piece(3 + 0xc3)).toEqual(Uint8Array.of(0xc3));
  });
});
