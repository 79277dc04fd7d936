import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChatResult, History, ImageLike, InternVL } from "../../src/index.ts";
import { type ReadRepository, readJson } from "./checkpoints.ts";

/** An entry of weights/nano/expected.json. */
export interface Conversation {
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

/** Below this margin between the best two logits, rounding may decide; nano's smallest recorded one is 1.74. */
const CLEAR = 0.05;

export async function conversationsOf(read: ReadRepository): Promise<Conversation[]> {
  return (await readJson<{ conversations: Conversation[] }>(read, "weights/nano/expected.json")).conversations;
}

/** What the suite needs of a loaded model; a worker's has the same. */
type Chatting = Pick<InternVL, "chat" | "dispose">;

/**
 * The recorded conversations of the embedded model: ids, texts and prompts, turn after turn.
 *
 * @param image opens a picture by its path below weights/nano
 */
export function nanoSuite(
  title: string,
  conversations: readonly Conversation[],
  load: () => Promise<Chatting>,
  image: (path: string) => Promise<ImageLike> | ImageLike,
): void {
  describe(title, () => {
    let vlm: Chatting;
    beforeAll(async () => {
      vlm = await load();
    });
    afterAll(() => vlm?.dispose());

    it.each(conversations.map((c) => [c.id, c] as const))("%s", async (_, c) => {
      const opened = (entry: string | string[]): Promise<ImageLike | ImageLike[]> =>
        Array.isArray(entry) ? Promise.all(entry.map(image)) : Promise.resolve(image(entry));
      let history: History | undefined;
      for (const [i, turn] of c.turns.entries()) {
        const first = {
          images: await Promise.all(c.images.map(opened)),
          video: c.video && (await Promise.all(c.video.map(image))),
        };
        const result: ChatResult = await vlm.chat(turn, { ...(history ? { history } : first), maxTiles: c.maxTiles });
        expect(result.promptTokenIds).toEqual(c.inputIds[i]);
        expect(c.minMargin[i]).toBeGreaterThan(CLEAR);
        expect(result.tokenIds).toEqual(c.tokenIds[i]);
        expect(result.text).toBe(c.answers[i]);
        expect(result.finishReason).toBe("stop");
        history = result.history;
      }
    });
  });
}
