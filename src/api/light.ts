import type { Ask } from "./asking.ts";
import type { ContentPart, Message } from "./messages.ts";
import { HeldImage } from "./pictures.ts";
import { placePictures } from "./placing.ts";
import type { BatchAnswer, ChatResult } from "./reply.ts";

/** A history with other parts in the place of those that it has. */
export const overParts = (history: readonly Message[], change: (part: ContentPart) => ContentPart): Message[] =>
  history.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map(change) }));

/**
 * An answer whose history refers to pictures as the caller gave them, in place of what was read of Blobs and of a page's objects: what a
 * batch of thousands keeps to its end must not grow with its pictures.
 */
export function light(answer: BatchAnswer, ask: Ask): BatchAnswer {
  const { turns, question } = placePictures(ask);
  const given = [...turns, question].flatMap(({ pictures }) => pictures);
  const lighter = <T extends ChatResult>(result: T): T => {
    let next = 0;
    const asGiven = (part: ContentPart) => (part instanceof HeldImage ? new HeldImage(given[next++]!.sources, part.maxTiles) : part);
    return { ...result, history: overParts(result.history, asGiven) };
  };
  return { ...lighter(answer), turns: answer.turns.map(lighter) };
}
