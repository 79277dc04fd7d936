import { any, type Read, reading, readOptions, text, wrong } from "../options.ts";
import { ask, asked, CHAT } from "./accept.ts";
import type { AcceptedItem, Ask } from "./asking.ts";
import type { GENERATION } from "./generation.ts";
import { history, type Message } from "./messages.ts";
import { isList } from "./pictures.ts";

const { signal: _, onProgress: __, ...ITEM_OPTIONS } = CHAT;
const ITEM = { prompt: any, ...ITEM_OPTIONS };

const isMessages = (prompt: readonly unknown[]): boolean => prompt.some((each) => typeof each === "object" && each !== null);

/** The next question of the same conversation. */
export function following(before: Ask, question: string, said: readonly Message[]): Ask {
  const next = { name: "the question", text: question, pictures: [] };
  return { ...before, turns: history(said, "history").turns, question: next, images: [], frames: [], clip: undefined };
}

/** One item, with the batch's options where it has none of its own. @throws EngineError bad-input */
export function acceptItem(item: unknown, index: number, defaults: Read<typeof GENERATION>): AcceptedItem {
  const name = `item ${index + 1}`;
  const needs = "an object with a prompt: { prompt, images, … }";
  if (item === undefined || item === null) throw wrong(name, item, needs);
  const { prompt, ...sent } = readOptions(name, item, ITEM, needs);
  const options = { ...defaults, ...sent };
  return reading(`the prompt of ${name}`, () => {
    if (!isList(prompt) || isMessages(Array.from(prompt))) return { ask: ask(asked(prompt, `the prompt of ${name}`), options), more: [] };
    const [first, ...more] = Array.from(prompt, (each, i) => text(each, `the prompt's question ${i + 1}`));
    if (first === undefined) throw wrong(`the prompt of ${name}`, prompt, "at least one question");
    return { ask: ask(asked(first, ""), options), more };
  });
}
