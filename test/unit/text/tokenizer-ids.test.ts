import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import { structuralIds } from "../../../src/text/tokenizer.ts";
import { type Files, load, readText, tokenizerFiles } from "./fixtures.ts";

type Json = Record<string, unknown>;
interface Added {
  id: unknown;
  content: unknown;
}
interface TokenizerJson extends Json {
  added_tokens: Added[];
  model: { vocab: Record<string, unknown>; merges: unknown[] } & Json;
}

const { fast, slow } = tokenizerFiles("tiny");
const ROWS = 1031;
const parsed = () => JSON.parse(fast["tokenizer.json"] as string) as TokenizerJson;
const alone = (json: unknown): Files => ({ "tokenizer.json": JSON.stringify(json) });

async function refusal(files: Files, rows = ROWS): Promise<EngineError> {
  const error = await load(files, rows)
    .then((tokenizer) => structuralIds(tokenizer))
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(EngineError);
  const { code, message, hint } = error as EngineError;
  expect(code).toBe("bad-weights");
  expect(hint).toMatch(/\w+ \w+/);
  expect(message).not.toContain("\n");
  expect(message.length).toBeLessThan(300);
  return error as EngineError;
}

/** tokenizer.json by itself, with the id of an added token changed. */
function moved(content: string, id: unknown): TokenizerJson {
  const json = parsed();
  json.added_tokens.find((token) => token.content === content)!.id = id;
  return json;
}

describe("ids", () => {
  it("are those of the model's rows: as many as there are, and no more", async () => {
    expect((await load(fast, ROWS)).vocabSize).toBe(ROWS);
    expect(structuralIds(await load(slow, ROWS))).toEqual({ imageContextId: 1024, stopIds: new Set([1002]) });
    expect((await refusal(fast, 1030)).message).toBe('tokenizer.json gives "</box>" the id 1030, the model has ids up to 1029');
    expect((await refusal(slow, 500)).message).toMatch(/^vocab\.json gives ".*" the id 5\d\d, the model has ids up to 499$/);
  });

  const ids: [string, unknown, RegExp][] = [
    ["negative", -1, /the id -1, it must be an integer from 0/],
    ["fractional", 1.5, /the id 1\.5/],
    ["a text", "1002", /the id "1002"/],
    ["null", null, /the id null/],
    ["beyond the rows", 1031, /the id 1031, the model has ids up to 1030/],
    ["beyond all integers", 1e300, /the id 1e\+300/],
    ["another token's", 1001, /"<\|im_end\|>" has the id 1001, which is that of "<\|im_start\|>"/],
    ["a piece's", 5, /"<\|im_end\|>" has the id 5, which is that of/],
  ];
  it.each(ids)("of added tokens: %s", async (_, id, message) => {
    expect((await refusal(alone(moved("<|im_end|>", id)))).message).toMatch(message);
  });

  it.each(ids.slice(0, 6))("of the vocabulary: %s", async (_, id, message) => {
    const json = parsed();
    json.model.vocab.the = id;
    expect((await refusal(alone(json))).message).toMatch(message);
  });

  it("of two tokens at once", async () => {
    const json = parsed();
    const [first, second] = Object.keys(json.model.vocab);
    json.model.vocab[second!] = json.model.vocab[first!];
    expect((await refusal(alone(json))).message).toMatch(/both have the id \d+/);
    const twice = parsed();
    twice.added_tokens.push({ ...twice.added_tokens[2]!, id: 7 });
    expect((await refusal(alone(twice))).message).toMatch(/"<\|im_end\|>" has the id 7, and 1002 too/);
    const inside = parsed();
    inside.model.vocab["<|im_end|>"] = 1003;
    expect((await refusal(alone(inside))).message).toMatch(/"<\|im_end\|>" has the id 1002, and 1003 too/);
  });

  it("are the same in every file", async () => {
    const swapped = parsed();
    for (const token of swapped.added_tokens) token.id = { 1001: 1002, 1002: 1001 }[token.id as number] ?? token.id;
    const text = JSON.stringify(swapped);
    const { "tokenizer_config.json": config, "added_tokens.json": added } = fast;
    expect((await refusal({ "tokenizer.json": text, "tokenizer_config.json": config! })).message).toMatch(
      /"<\|im_start\|>" has the id 1002, and in tokenizer_config\.json 1001/,
    );
    expect((await refusal({ "tokenizer.json": text, "added_tokens.json": added! })).message).toMatch(/in added_tokens\.json 1001/);
  });

  it("of an unused piece may be an added token's where another file says so too (InternLM2)", async () => {
    const json = parsed();
    const last = Object.entries(json.model.vocab).find(([, id]) => id === 999)![0];
    json.model.merges = json.model.merges.filter((merge) => String(merge).replace(" ", "") !== last);
    json.added_tokens.find(({ content }) => content === "<|im_end|>")!.id = 999;
    expect((await refusal(alone(json))).message).toMatch(/has the id 999, which is that of/);
    const said = { ...alone(json), "added_tokens.json": '{"<|im_end|>":999}' };
    expect(structuralIds(await load(said, ROWS)).stopIds).toEqual(new Set([999]));
  });
});

describe("the tokens that prompts hang on", () => {
  it("are all named when they are missing", async () => {
    const json = parsed();
    json.added_tokens = json.added_tokens.filter(({ content }) => !["<img>", "<IMG_CONTEXT>"].includes(content as string));
    expect((await refusal(alone(json))).message).toBe("the tokenizer has no tokens <img>, <IMG_CONTEXT>");
    json.added_tokens = json.added_tokens.slice(0, 2);
    expect((await refusal(alone(json))).message).toBe("the tokenizer has no tokens <|im_end|>, <img>, </img>, <IMG_CONTEXT>");
  });

  it("must be found in a text: a piece of the vocabulary is not", async () => {
    const json = parsed();
    json.added_tokens = json.added_tokens.filter(({ content }) => content !== "<|im_end|>");
    json.model.vocab["<|im_end|>"] = 1002;
    expect((await refusal(alone(json))).message).toBe("the tokenizer has no token <|im_end|>");
  });
});

describe("parts of a tokenizer.json", () => {
  const split = (Regex: unknown) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const cases: [string, (json: TokenizerJson) => void, RegExp][] = [
    ["another model", (json) => Object.assign(json.model, { type: "Unigram" }), /type "Unigram", only BPE/],
    ["a list of words", (json) => Object.assign(json.model, { vocab: ["a"] }), /its vocabulary is a list of 1/],
    ["no word", (json) => Object.assign(json.model, { vocab: {}, merges: [] }), /its vocabulary is empty/],
    ["merges that are none", (json) => Object.assign(json.model, { merges: "a b" }), /its merges are "a b"/],
    ["a merge of three", (json) => json.model.merges.push(["a", "b", "c"]), /merge 745 is a list of 3, not two tokens/],
    ["a merge of one", (json) => json.model.merges.push("abc"), /merge 745 is "abc"/],
    ["a merge of numbers", (json) => json.model.merges.push([1, 2]), /merge 745/],
    ["a merge that makes nothing", (json) => json.model.merges.push("q x"), /makes "qx", which its vocabulary does not have/],
    ["added tokens that are none", (json) => Object.assign(json, { added_tokens: {} }), /added_tokens is an object without keys/],
    ["an added token without text", (json) => json.added_tokens.push({ id: 9, content: "" }), /content is ""/],
    ["an added token that is none", (json) => json.added_tokens.push(null as never), /added_tokens holds null/],
    ["a decoder that is none", (json) => Object.assign(json, { decoder: "ByteLevel" }), /its decoder is "ByteLevel"/],
    [
      "a normalizer of an unknown kind",
      (json) => Object.assign(json, { normalizer: { type: "Magic" } }),
      /its normalizer is of type "Magic", supported: NFC/,
    ],
    ["letters made small", (json) => Object.assign(json, { normalizer: { type: "Lowercase" } }), /its normalizer is of type "Lowercase"/],
    [
      "a normalizer in a sequence",
      (json) => Object.assign(json, { normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "NFKC" }] } }),
      /is of type "NFKC"/,
    ],
    ["a normalizer without a type", (json) => Object.assign(json, { normalizer: {} }), /its normalizer is of type undefined/],
    [
      "digits apart",
      (json) => Object.assign(json, { pre_tokenizer: { type: "Digits", individual_digits: true } }),
      /pre_tokenizer is of type "Digits"/,
    ],
    [
      "another post-processor",
      (json) => Object.assign(json, { post_processor: { type: "BertProcessing" } }),
      /post_processor is of type "BertProcessing"/,
    ],
    ["another decoder", (json) => Object.assign(json, { decoder: { type: "WordPiece" } }), /its decoder is of type "WordPiece"/],
    ["dropout", (json) => Object.assign(json.model, { dropout: 0.1 }), /its model has dropout 0\.1/],
    ["a suffix of words", (json) => Object.assign(json.model, { end_of_word_suffix: "</w>" }), /end_of_word_suffix "<\/w>"/],
    ["a splitter without a pattern", (json) => Object.assign(json, { pre_tokenizer: { type: "Split" } }), /is not a tokenizer/],
    ["no splitter", (json) => Object.assign(json, { pre_tokenizer: null }), /is not a tokenizer: it makes "/],
    ["a byte without a token", (json) => delete json.model.vocab.ð, /is not a tokenizer: it makes|which its vocabulary/],
    [
      "an expression that takes for ever",
      (json) => Object.assign(json, { pre_tokenizer: { type: "Sequence", pretokenizers: [split("(?:[a-z]+ ?)+!"), byteLevel] } }),
      /an expression that is not known: "\(\?:\[a-z\]\+ \?\)\+!"/,
    ],
    [
      "another one, in the normalizer",
      (json) => Object.assign(json, { normalizer: { type: "Replace", pattern: { Regex: "(a|a)*b" }, content: "" } }),
      /an expression that is not known/,
    ],
    [
      "an expression that is none",
      (json) => Object.assign(json, { pre_tokenizer: { type: "Sequence", pretokenizers: [split(5), byteLevel] } }),
      /an expression that is not known: 5/,
    ],
  ];
  it.each(cases)("%s", async (_, change, message) => {
    const json = parsed();
    change(json);
    expect((await refusal(alone(json))).message).toMatch(message);
  });

  it("the case tokenizer-regex-bomb", async () => {
    const bomb = { ...fast, "tokenizer.json": readText("test/fixtures/cases/tokenizer-regex-bomb.json") };
    expect((await refusal(bomb, 1056)).message).toMatch(/an expression that is not known/);
  });

  it("a key twice, and nesting", async () => {
    const text = fast["tokenizer.json"] as string;
    expect((await refusal({ "tokenizer.json": text.replace('"vocab": {', '"vocab": {"!": 7, ') })).message).toMatch(/the key "!" twice/);
    const deep = { ...fast, "tokenizer_config.json": `{"a":${"[".repeat(9e4)}${"]".repeat(9e4)}}` };
    expect((await refusal(deep)).message).toBe("tokenizer_config.json is nested deeper than 64");
  });
});
