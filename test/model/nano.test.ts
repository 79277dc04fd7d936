import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HistoryTurn, InternVL } from "../../src/index.ts";
import { pathOf } from "../support.ts";

interface Conversation {
  id: string;
  images: (string | string[])[];
  video?: string[];
  maxTiles: number;
  turns: string[];
  inputIds: number[][];
  answers: string[];
  tokenIds: number[][];
  minMargin: number[];
}

const folder = pathOf("weights/nano");
const { conversations } = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8")) as { conversations: Conversation[] };
const located = (entry: string | string[]): string | string[] =>
  Array.isArray(entry) ? entry.map((path) => `${folder}/${path}`) : `${folder}/${entry}`;

/** Below this margin between the best two logits, rounding may decide; nano's smallest recorded one is 1.74. */
const CLEAR = 0.05;

describe("the embedded model", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(folder);
  });
  afterAll(() => vlm.dispose());

  it.each(conversations.map((c) => [c.id, c] as const))("%s", async (_, c) => {
    let history: HistoryTurn[] | undefined;
    for (const [i, turn] of c.turns.entries()) {
      const first = { images: c.images.map(located), video: c.video?.map((path) => `${folder}/${path}`) };
      const result = await vlm.chat(turn, { ...(history ? { history } : first), maxTiles: c.maxTiles });
      expect(result.promptTokenIds).toEqual(c.inputIds[i]);
      expect(c.minMargin[i]).toBeGreaterThan(CLEAR);
      expect(result.tokenIds).toEqual(c.tokenIds[i]);
      expect(result.text).toBe(c.answers[i]);
      expect(result.finishReason).toBe("stop");
      history = result.history;
    }
  });
});
