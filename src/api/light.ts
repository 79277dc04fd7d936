import type { Ask } from "./asking.ts";
import type { Message } from "./messages.ts";
import { HeldImage } from "./pictures.ts";
import { placePictures } from "./placing.ts";
import type { BatchAnswer, ChatResult } from "./reply.ts";

/**
 * An answer whose history refers to pictures as the caller gave them, in place of what was read of Blobs and of a page's objects: what a
 * batch of thousands keeps to its end must not grow with its pictures.
 */
export function light(answer: BatchAnswer, ask: Ask): BatchAnswer {
  const { turns, question } = placePictures(ask);
  const given = [...turns, question].flatMap(({ pictures }) => pictures);
  const lighter = <T extends ChatResult>(result: T): T => {
    let next = 0;
    const message = ({ role, content }: Message): Message => ({
      role,
      content:
        typeof content === "string"
          ? content
          : content.map((part) => (part instanceof HeldImage ? new HeldImage(given[next++]!.sources, part.maxTiles) : part)),
    });
    return { ...result, history: result.history.map(message) };
  };
  return { ...lighter(answer), turns: answer.turns.map(lighter) };
}
