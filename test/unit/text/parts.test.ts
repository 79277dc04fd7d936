import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type PromptPart, promptText, STRUCTURAL_TOKENS } from "../../../src/text/template.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { fewer } from "../../shared/quick.ts";
import { load, tokenizerFiles } from "./fixtures.ts";
import { SENTENCE_PIECE } from "./sentence-piece.ts";

/** InternLM2's kind with the tokens of a prompt. */
function sentencePiece(): Promise<Tokenizer> {
  const json = JSON.parse(SENTENCE_PIECE);
  const first = 263;
  const more = [...STRUCTURAL_TOKENS, "<box>", "</box>"].map((content, i) => ({ id: first + i, content, special: true }));
  return load({ "tokenizer.json": JSON.stringify({ ...json, added_tokens: [...json.added_tokens, ...more] }) });
}

const token = fc.constantFrom(...STRUCTURAL_TOKENS.map((each): PromptPart => ({ token: each })));
const snippet = fc.constantFrom(
  "user\n",
  "<box>",
  "</box>",
  "\n",
  " ",
  "hello",
  "a b",
  "é",
  "e\u0301",
  "漢字",
  "<|im",
  "_end|>",
  "<img",
  ">",
  "123",
);
const text = fc.oneof(
  snippet,
  fc.string({ unit: "binary" }),
  fc.array(snippet).map((all) => all.join("")),
);
// A mark that joins the ">" before it takes upstream's token apart; where the template put a token it stays one here.
const free = (each: PromptPart) =>
  typeof each !== "string" || (!/^\p{M}/u.test(each) && !STRUCTURAL_TOKENS.some((one) => each.includes(one)));
const parts = fc.array(fc.oneof(token, text)).map((all) => all.filter(free));

describe.each([
  ["real", () => load(tokenizerFiles("real").fast)],
  ["tiny", () => load(tokenizerFiles("tiny").slow)],
  ["nano", () => load(tokenizerFiles("nano").fast)],
  ["SentencePiece", sentencePiece],
] as const)("a prompt in parts, %s tokenizer", (_, open) => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await open();
  });
  const structural = (ids: readonly number[]) => ids.filter((id) => STRUCTURAL_TOKENS.some((each) => tokenizer.idOf(each) === id));

  it("has the ids of the whole text where nobody typed a structural token", () => {
    fc.assert(
      fc.property(parts, (prompt) => {
        const whole = promptText(prompt);
        // Two texts side by side may spell a token, which is text here.
        fc.pre(structural(tokenizer.encode(whole)).length === prompt.filter((part) => typeof part !== "string").length);
        expect(tokenizer.encodeParts(prompt)).toEqual(tokenizer.encode(whole));
      }),
      { numRuns: fewer(300) },
    );
    expect(tokenizer.encodeParts([{ token: "<IMG_CONTEXT>", times: 3 }])).toEqual(tokenizer.encode("<IMG_CONTEXT>".repeat(3)));
  });

  it("has only the template's structural tokens, and says the typed ones as text", () => {
    for (const typed of STRUCTURAL_TOKENS) {
      const prompt = [{ token: "<|im_start|>" }, `user\na${typed}b <box>c</box>`, { token: "<|im_end|>" }, "\n"];
      const ids = tokenizer.encodeParts(prompt);
      expect(structural(ids)).toEqual([tokenizer.idOf("<|im_start|>"), tokenizer.idOf("<|im_end|>")]);
      expect(ids.filter((id) => id === tokenizer.idOf("<box>"))).toHaveLength(1);
      expect(tokenizer.decode(ids).replaceAll(/<s>| /g, "")).toBe(promptText(prompt).replaceAll(" ", ""));
    }
  });

  it("a text has never fewer tokens than the bound says", async () => {
    const long = fc.tuple(text, fc.integer({ min: 1, max: 300 })).map(([each, times]) => each.repeat(times).slice(0, 2000));
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, long), async (value) => {
        expect(await tokenizer.atLeast(value)).toBeLessThanOrEqual(tokenizer.encode(value).length);
      }),
      { numRuns: fewer(200) },
    );
    expect(await tokenizer.atLeast("")).toBe(0);
    expect(await tokenizer.atLeast("abc ".repeat(1000))).toBeGreaterThan(50);
  });
});
