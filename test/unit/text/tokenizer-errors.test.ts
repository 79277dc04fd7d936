import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import { type Files, failure, tokenizerFiles } from "./fixtures.ts";

const { fast, slow } = tokenizerFiles("tiny");

describe("missing files", () => {
  it("says what is needed, and how to make it", async () => {
    const none = await failure({ "tokenizer_config.json": "{}" });
    expect(none.message).toContain("no tokenizer files");
    expect(none.message).toContain("tokenizer.json, or vocab.json + merges.txt + added_tokens.json");
    expect(none.message).toContain("or tokenizer.model");
    expect(none.hint).toContain("tokenizer_config.json");
  });

  it("a tokenizer of Qwen2's class is not asked for tokenizer.model: on a server each name is a request", async () => {
    const asked: string[] = [];
    const { loadTokenizer } = await import("../../../src/text/tokenizer.ts");
    const files: Files = { ...fast, "tokenizer_config.json": '{"tokenizer_class":"Qwen2Tokenizer"}' };
    await loadTokenizer(async (name) => {
      asked.push(name);
      const file = files[name];
      return typeof file === "string" ? new TextEncoder().encode(file) : file;
    });
    expect(asked).toContain("tokenizer.json");
    expect(asked).not.toContain("tokenizer.model");
  });

  it("names the missing half of a slow tokenizer", async () => {
    expect((await failure({ "vocab.json": slow["vocab.json"]! })).message).toContain("has vocab.json but not merges.txt");
    expect((await failure({ "merges.txt": slow["merges.txt"]! })).message).toContain("has merges.txt but not vocab.json");
    const bare = { "vocab.json": slow["vocab.json"]!, "merges.txt": slow["merges.txt"]! };
    expect((await failure(bare)).hint).toContain("added_tokens.json");
  });
});

describe("broken files", () => {
  const json = JSON.parse(fast["tokenizer.json"] as string);
  const cases: [string, Files, string | RegExp][] = [
    [
      "truncated tokenizer.json",
      { ...fast, "tokenizer.json": (fast["tokenizer.json"] as string).slice(0, 5000) },
      "tokenizer.json is not JSON",
    ],
    ["empty tokenizer.json", { ...fast, "tokenizer.json": "" }, "tokenizer.json is not JSON"],
    ["an array", { ...fast, "tokenizer.json": "[]" }, "tokenizer.json must hold a JSON object, it holds an empty list"],
    ["null", { ...fast, "tokenizer_config.json": "null" }, "tokenizer_config.json must hold a JSON object, it holds null"],
    ["not UTF-8", { ...fast, "special_tokens_map.json": Uint8Array.of(0x7b, 0xff, 0x7d) }, "special_tokens_map.json is not UTF-8"],
    ["no model", { "tokenizer.json": "{}" }, "tokenizer.json is not a tokenizer: its model is missing"],
    [
      "another model",
      { "tokenizer.json": JSON.stringify({ ...json, model: { ...json.model, dropout: 0.1 } }) },
      "its model has dropout 0.1, which is not supported",
    ],
    ["no vocabulary", { "tokenizer.json": JSON.stringify({ ...json, model: { type: "BPE" } }) }, "tokenizer.json is not a tokenizer"],
    ["no added tokens", { "tokenizer.json": JSON.stringify({ ...json, added_tokens: undefined }) }, "tokenizer.json is not a tokenizer"],
    [
      "another decoder",
      { "tokenizer.json": JSON.stringify({ ...json, decoder: { type: "WordPiece" } }) },
      'its decoder is of type "WordPiece"',
    ],
    ["no decoder", { "tokenizer.json": JSON.stringify({ ...json, decoder: null }) }, "decoder of kind none"],
    ["a vocabulary of texts", { ...slow, "vocab.json": '{"a":"0"}' }, 'vocab.json gives "a" the id "0"'],
    ["a merge of one", { ...slow, "merges.txt": "#version: 0.2\na b\nabc\n" }, /merges.txt, line [23]/],
    ["a merge of three", { ...slow, "merges.txt": "i n n\n" }, 'merges.txt, line 1: "i n n" is not two tokens'],
    ["merges of another model", { ...slow, "merges.txt": "x q\n" }, 'merges.txt, line 1 makes "xq", which vocab.json does not have'],
    ["added ids", { ...slow, "added_tokens.json": '{"<img>":-1}' }, 'added_tokens.json gives "<img>" the id -1'],
    [
      "added decoder",
      { ...slow, "tokenizer_config.json": '{"added_tokens_decoder":{"7":{}}}' },
      "added_tokens_decoder has no content for id 7",
    ],
    [
      "added decoder ids",
      { ...slow, "tokenizer_config.json": '{"added_tokens_decoder":{"x":{"content":"<img>"}}}' },
      'tokenizer_config.json gives "<img>"',
    ],
  ];
  it.each(cases)("%s", async (_, files, message) => {
    expect((await failure(files)).message).toMatch(message);
  });

  it("passes on what the reader throws", async () => {
    const { loadTokenizer } = await import("../../../src/text/tokenizer.ts");
    const network = new EngineError("network", "the server is gone");
    await expect(loadTokenizer(() => Promise.reject(network))).rejects.toBe(network);
  });
});
