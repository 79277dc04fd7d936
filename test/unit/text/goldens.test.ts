import { beforeAll, describe, expect, it } from "vitest";
import { finishResponse } from "../../../src/text/response.ts";
import { streamDecoder } from "../../../src/text/stream.ts";
import { imagePrefix, placeholders, promptParts, promptText, videoPrefix } from "../../../src/text/template.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { goldenRows, load, readJson, TINY, tokenizerFiles } from "./fixtures.ts";

function stream(tokenizer: Tokenizer, ids: number[]): string {
  const decoder = streamDecoder(tokenizer);
  return ids.map((id) => decoder.push(id)).join("") + decoder.end();
}

/** A conversation's texts with the tiles of their `<image>` markers, in order. */
function askedWith(texts: readonly string[], tiles: readonly number[]) {
  const rest = [...tiles];
  return texts.map((text) => ({ text, tiles: rest.splice(0, placeholders(text)) }));
}

/** `<image>\n` in front of a question that comes with pictures and says nowhere where they belong. */
const marked = (question: string, pictures: number) =>
  pictures > 0 && placeholders(question) === 0 ? imagePrefix(pictures) + question : question;

describe.each(["fast", "slow"] as const)("the tiny goldens, tokenizer from its %s form", (form) => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await load(tokenizerFiles("tiny")[form]);
  });

  it.each(TINY.flatMap(goldenRows).map((row) => [row.name, row] as const))("%s", (_, row) => {
    const history = row.history ?? [];
    const earlier = history.reduce((sum, [question]) => sum + placeholders(question), 0);
    const question = marked(row.question, row.hasPixels ? row.tiles.length - earlier : 0);
    const texts = askedWith([...history.map(([asked]) => asked), question], row.tiles);
    const turns = history.map(([, answer], i) => [texts[i]!, answer] as const);
    const parts = promptParts({ history: turns, question: texts.at(-1)! }, 4);
    expect(promptText(parts)).toBe(row.prompt);
    expect(tokenizer.encode(promptText(parts))).toEqual(row.inputIds);
    expect(tokenizer.encodeParts(parts)).toEqual(row.inputIds);

    const text = finishResponse(tokenizer.decode(row.newIds, { skipSpecialTokens: true }));
    if (row.response !== undefined) expect(text).toBe(row.response);
    expect(stream(tokenizer, row.newIds)).toBe(text);
  });
});

interface Conversation {
  id: string;
  images: (string | string[])[];
  video?: string[];
  turns: string[];
  inputIds: number[][];
  answers: string[];
  tokenIds: number[][];
  tiles: number[];
}

describe.each(["fast", "slow"] as const)("the nano conversations, tokenizer from its %s form", (form) => {
  const { conversations }: { conversations: Conversation[] } = readJson("weights/nano/expected.json");
  const { system_message: system } = readJson("weights/nano/config.json");
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await load(tokenizerFiles("nano")[form]);
  });

  it("has all kinds", () => expect(conversations.length).toBeGreaterThan(70));

  it.each(conversations.map((c) => [c.id, c] as const))("%s", (_, c) => {
    const rest = [...c.tiles];
    const tiles = c.images.map((entry) => rest.splice(0, [entry].flat().length).reduce((sum, n) => sum + n));
    if (c.video !== undefined) tiles.push(...c.video.map(() => 1));

    const history: [string, string][] = [];
    for (const [turn, asked] of c.turns.entries()) {
      const first = turn === 0 ? videoPrefix(c.video?.length ?? 0) + asked : asked;
      const question = turn === 0 ? marked(first, tiles.length) : first;
      const texts = askedWith([...history.map(([asked]) => asked), question], tiles);
      const turns = history.map(([, answer], i) => [texts[i]!, answer] as const);
      const parts = promptParts({ system, history: turns, question: texts.at(-1)! }, 16);
      expect(tokenizer.encode(promptText(parts))).toEqual(c.inputIds[turn]);
      expect(tokenizer.encodeParts(parts)).toEqual(c.inputIds[turn]);

      const answer = finishResponse(tokenizer.decode(c.tokenIds[turn]!, { skipSpecialTokens: true }));
      expect(answer).toBe(c.answers[turn]);
      expect(stream(tokenizer, c.tokenIds[turn]!)).toBe(answer);
      history.push([question, answer]);
    }
  });
});
