import { beforeAll, describe, expect, it } from "vitest";
import { finishResponse } from "../../../src/text/response.ts";
import { StreamDecoder } from "../../../src/text/stream.ts";
import { buildPrompt, expandImages, prepareQuestion, videoPrefix } from "../../../src/text/template.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { goldenRows, load, readJson, TINY, tokenizerFiles } from "./fixtures.ts";

function stream(tokenizer: Tokenizer, ids: number[]): string {
  const decoder = new StreamDecoder(tokenizer);
  return ids.map((id) => decoder.push(id)).join("") + decoder.end();
}

describe.each(["fast", "slow"] as const)("the tiny goldens, tokenizer from its %s form", (form) => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await load(tokenizerFiles("tiny")[form]);
  });

  it.each(TINY.flatMap(goldenRows).map((row) => [row.name, row] as const))("%s", (_, row) => {
    const { history, hasPixels } = row;
    const question = prepareQuestion(row.question, { hasPixels, history });
    const prompt = expandImages(buildPrompt({ history, question }), row.tiles, 4);
    expect(prompt).toBe(row.prompt);
    expect(tokenizer.encode(prompt)).toEqual(row.inputIds);

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
      const question = prepareQuestion(first, { hasPixels: tiles.length > 0, history });
      const prompt = expandImages(buildPrompt({ system, history, question }), tiles, 16);
      expect(tokenizer.encode(prompt)).toEqual(c.inputIds[turn]);

      const answer = finishResponse(tokenizer.decode(c.tokenIds[turn]!, { skipSpecialTokens: true }));
      expect(answer).toBe(c.answers[turn]);
      expect(stream(tokenizer, c.tokenIds[turn]!)).toBe(answer);
      history.push([question, answer]);
    }
  });
});
