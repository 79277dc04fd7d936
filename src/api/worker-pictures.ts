import { platform } from "#platform";
import type { AcceptedItem, Ask } from "./asking.ts";
import { isUrlObject } from "./images.ts";
import { overParts } from "./light.ts";
import type { ContentPart } from "./messages.ts";
import { HeldImage, type Picture, type Source } from "./pictures.ts";
import type { ChatResult } from "./reply.ts";

/** The name that each part of a history has in the worker, which remembers the picture's tiles by it. */
const keys = new WeakMap<object, string>();

/** What goes over to a worker, with what moves along instead of being copied. */
export interface Portable<T> {
  value: T;
  transfer: Transferable[];
}

async function portablePicture(picture: Picture, transfer: Transferable[]): Promise<Picture> {
  const { name, sources, maxTiles, part } = picture;
  const moved: Source[] = [];
  for (const source of sources) {
    if (typeof source === "string") moved.push(source);
    else if (isUrlObject(source)) moved.push(source.href);
    else {
      const portable = await platform.portable(source);
      transfer.push(...portable.transfer);
      moved.push(portable.image as Source);
    }
  }
  return { name, sources: moved, maxTiles, key: part && keys.get(part) };
}

const portablePictures = (pictures: readonly Picture[], transfer: Transferable[]): Promise<Picture[]> =>
  Promise.all(pictures.map((picture) => portablePicture(picture, transfer)));

/** A question with its pictures as a worker can take them: elements and canvases belong to their page. */
export async function portableAsk(ask: Ask): Promise<Portable<Ask>> {
  const transfer: Transferable[] = [];
  const asked = async <T extends { pictures: readonly Picture[] }>(said: T): Promise<T> => ({
    ...said,
    pictures: await portablePictures(said.pictures, transfer),
  });
  const value = {
    ...ask,
    turns: await Promise.all(ask.turns.map(async (turn) => ({ ...turn, asked: await asked(turn.asked) }))),
    question: await asked(ask.question),
    images: await portablePictures(ask.images, transfer),
    frames: await portablePictures(ask.frames, transfer),
  };
  return { value, transfer };
}

/** A batch's item as a worker can take it, and what of it moves over. */
export async function portableItem({ ask, more }: AcceptedItem): Promise<Portable<AcceptedItem>> {
  const { value, transfer } = await portableAsk(ask);
  return { value: { ask: value, more }, transfer };
}

/** Bitmaps and frames hold memory until they are closed; those that came over the port are the worker's own. */
export function closePictures({ turns, question, images, frames }: Ask): void {
  const all = [...turns.flatMap(({ asked }) => asked.pictures), ...question.pictures, ...images, ...frames];
  for (const source of all.flatMap(({ sources }) => sources)) {
    if (typeof source === "object" && "close" in source && typeof source.close === "function") source.close();
  }
}

type Wire = ContentPart & { key?: string };

/** A result as it leaves the worker: its pictures have the names that the worker knows them by. */
export function namedResult<T extends ChatResult>(result: T, idOf: (part: object) => string): T {
  const history = overParts(result.history, (part) => (part instanceof HeldImage ? ({ ...part, key: idOf(part) } as Wire) : part));
  return { ...result, history };
}

/** A result as it has come from a worker: cloning has taken the pictures' JSON form. */
export function revivedResult<T extends ChatResult>(result: T): T {
  const history = overParts(result.history, (part) => {
    if (part.type !== "image") return part;
    const { image, maxTiles, key } = part as Wire & typeof part;
    const held = new HeldImage([image].flat() as Source[], maxTiles!);
    if (key) keys.set(held, key);
    return held;
  });
  return { ...result, history };
}
