import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { finishResponse } from "../../../src/text/response.ts";
import { streamDecoder } from "../../../src/text/stream.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { fewer } from "../../shared/quick.ts";
import { load, tokenizerFiles } from "./fixtures.ts";
import { SENTENCE_PIECE } from "./sentence-piece.ts";

function pieces(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const decoder = streamDecoder(tokenizer);
  return [...ids.map((id) => decoder.push(id)), decoder.end()];
}

const whole = (tokenizer: Tokenizer, ids: readonly number[]) => finishResponse(tokenizer.decode(ids, { skipSpecialTokens: true }));

/** Texts that hurt: cut characters, marks, white space of all kinds, an end of turn that is spelled out, replacement characters. */
const SPICE = [
  "é",
  "你好",
  "👩‍👩‍👧",
  "\ufffd",
  "\ufeff",
  " ",
  "\n\n",
  "\u3000",
  "\u0085",
  "<",
  "<|",
  "<|im_",
  "<|im_end|",
  "|>",
  " x",
  "e\u0301",
];

describe.each(["tiny", "nano", "real", "SentencePiece"] as const)("StreamDecoder with the %s tokenizer", (name) => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await load(name === "SentencePiece" ? { "tokenizer.json": SENTENCE_PIECE } : tokenizerFiles(name).fast);
  });

  it("gives the whole answer for any ids", () => {
    const spice = SPICE.map((text) => tokenizer.encode(text));
    const top = tokenizer.vocabSize;
    const id = fc.oneof(
      fc.integer({ min: 0, max: 258 }), // single bytes
      fc.integer({ min: 0, max: top - 1 }),
      fc.integer({ min: Math.max(0, top - 40), max: top + 5 }), // added tokens and beyond
    );
    const run = fc.oneof(
      id.map((one) => [one]),
      fc.constantFrom(...spice),
      fc.shuffledSubarray(spice).map((some) => some.flat()),
    );
    const ids = fc.array(run, { maxLength: 30 }).map((runs) => runs.flat());
    // Spelled out in characters, not as the special token.
    const spelled = [..."<|im_end|>"].flatMap((character) => tokenizer.encode(character).filter((one) => !tokenizer.isSpecial(one)));
    const stop = fc.constantFrom([], [], spelled, tokenizer.encode("<|im_end|>"));
    fc.assert(
      fc.property(ids, stop, ids, (before, end, after) => {
        const all = [...before, ...end, ...after];
        expect(pieces(tokenizer, all).join("")).toBe(whole(tokenizer, all));
      }),
      { numRuns: fewer(1500) },
    );
  });
});

describe("pieces", () => {
  let tokenizer: Tokenizer;
  let byteIds: number[]; // the token of each byte
  beforeAll(async () => {
    tokenizer = await load(tokenizerFiles("tiny").fast);
    byteIds = [];
    for (let id = 0; id < 256; id++) byteIds[(tokenizer.piece(id) as Uint8Array)[0]!] = id;
  });
  const bytes = (...values: number[]) => values.map((value) => byteIds[value]!);

  it("end exactly before a stop string, however tokens cut it", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "\n", "é", "<"), maxLength: 24 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "<"), minLength: 1, maxLength: 4 }), { maxLength: 3 });
    const overlapping: [[string, string[], boolean]] = [["aé ", ["aé ", "é"], false]]; // the inner one is complete first
    fc.assert(
      fc.property(text, stops, fc.boolean(), (said, stop, byBytes) => {
        const ids = byBytes ? bytes(...new TextEncoder().encode(said)) : tokenizer.encode(said);
        const decoder = streamDecoder(tokenizer, stop);
        let streamed = "";
        let stoppedAt = Number.POSITIVE_INFINITY;
        for (const [i, id] of ids.entries()) {
          streamed += decoder.push(id);
          if (decoder.stopped) stoppedAt = Math.min(stoppedAt, i);
        }
        streamed += decoder.end();
        // The string that is complete first decides; of two complete at once, the longer.
        const ends = stop
          .filter((each) => said.includes(each))
          .map((each) => [said.indexOf(each), said.indexOf(each) + each.length] as const);
        const at = ends.sort(([a, x], [b, y]) => x - y || a - b)[0]?.[0] ?? said.length;
        expect(streamed).toBe(finishResponse(said.slice(0, at)));
        expect(decoder.stopped).toBe(at < said.length);
        // Not a token later than the string is complete.
        const complete = ids.findIndex((_, i) => stop.some((each) => tokenizer.decode(ids.slice(0, i + 1)).includes(each)));
        if (decoder.stopped) expect(stoppedAt).toBe(complete);
      }),
      { numRuns: fewer(1000), examples: overlapping },
    );
  });

  it("wait for the rest of a character", () => {
    expect(pieces(tokenizer, bytes(0xf0, 0x9f, 0x98, 0x80, 0x21))).toEqual(["", "", "", "😀", "!", ""]);
    expect(pieces(tokenizer, bytes(0xe4, 0xbd))).toEqual(["", "", "\ufffd"]);
    expect(pieces(tokenizer, bytes(0xff, 0xff, 0x41))).toEqual(["\ufffd", "\ufffd", "A", ""]);
    expect(pieces(tokenizer, bytes(0xe4, 0x41))).toEqual(["", "\ufffdA", ""]);
  });

  it("join the bytes on both sides of a special token, and end them at an added one", () => {
    const [im, tool] = [tokenizer.idOf("<|im_start|>")!, tokenizer.idOf("<tool_call>")!];
    expect(pieces(tokenizer, [...bytes(0xc3), im, ...bytes(0xa9)])).toEqual(["", "", "é", ""]);
    expect(pieces(tokenizer, [...bytes(0xc3), tool, ...bytes(0xa9)])).toEqual(["", "\ufffd<tool_call>", "\ufffd", ""]);
  });

  it("hold white space back until text follows", () => {
    expect(pieces(tokenizer, bytes(0x0a, 0x61, 0x20, 0x0a, 0x62, 0x20))).toEqual(["", "a", "", "", " \nb", "", ""]);
  });

  it("end at a spelled-out <|im_end|>, and not at something like it", () => {
    const spell = (text: string) => bytes(...new TextEncoder().encode(text));
    expect(pieces(tokenizer, spell("a <|im_end|> b")).join("|")).toBe(`a|${"|".repeat(13)}`);
    expect(pieces(tokenizer, spell("a <|im_<|x")).filter(Boolean)).toEqual(["a", " <|im_", "<|x"]);
    expect(pieces(tokenizer, spell("a <|im_end|")).at(-1)).toBe(" <|im_end|");
  });

  it("cost the same in a long answer: tokens of nothing but white space or broken bytes", () => {
    // Were the work quadratic, this would not end within the test's time.
    for (const value of [0x20, 0xff, 0x3c]) {
      const decoder = streamDecoder(tokenizer);
      let length = 0;
      for (let i = 0; i < 200_000; i++) length += decoder.push(byteIds[value]!).length;
      length += decoder.end().length;
      expect(length).toBe(value === 0x20 ? 0 : 200_000);
    }
  });
});
