import { EngineError } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import { callback, count, flag, number, oneOf, type Read, type Reader, reading, readOptions, signal, text, wrong } from "../options.ts";
import type { Accepted, AcceptedItem, Ask, SessionStart } from "./asking.ts";
import { GENERATION, generation } from "./generation.ts";
import { type Asked, type Conversation, conversation, history, type Message, oneSystem, tileCount } from "./messages.ts";
import { isList, type Picture, pictures } from "./pictures.ts";
import type { BatchResult } from "./reply.ts";

const video: Reader<Picture[]> = (value, name) => {
  if (typeof value === "string") throw wrong(name, value, "a list of frames, each a picture", "extract the video's frames first");
  const frames = pictures(value, name, "frame");
  if (frames.length === 0) throw wrong(name, value, "at least one frame");
  const combined = frames.find(({ sources }) => sources.length > 1);
  if (combined) throw wrong(combined.name, combined.sources, "one picture");
  return frames;
};

const positive = (what: string): Reader<number> => number(`a positive number of ${what}`, (v) => v > 0);

/** What comes with a question, a turn's own. */
const SEND = {
  images: (value: unknown, name: string) => pictures(value, name, "image"),
  video,
  maxTiles: tileCount,
  maxPixels: positive("pixels"),
  maxSide: positive("pixels"),
  allowTruncated: flag,
  decoder: oneOf("js", "native"),
  specialTokens: oneOf("text", "parse"),
  ...GENERATION,
  signal,
  onProgress: callback<(progress: PromptProgress) => void>(),
};

const CHAT = { ...SEND, history, system: text };

type Sent = Read<Omit<typeof CHAT, "signal" | "onProgress">>;

/** The conversation that a question stands for: a text, or messages that end with a user's. */
function asked(question: unknown, name: string): Conversation & { open: Asked } {
  if (typeof question === "string") return { turns: [], open: { name: "the question", text: question, pictures: [] } };
  if (!isList(question)) throw wrong(name, question, "a text, or a list of messages { role, content }");
  const read = conversation(question, "messages");
  if (!read.open) {
    const last = question.length > 0 ? `end with ${read.turns.length > 0 ? "an answer" : "the system message"}` : "are an empty list";
    throw new EngineError("bad-input", `the messages ${last}, they need a user's message at the end`);
  }
  return { ...read, open: read.open };
}

function ask({ system, turns, open }: Conversation & { open: Asked }, sent: Sent): Ask {
  const { images = [], video = [], maxTiles, maxPixels, maxSide, allowTruncated, decoder, specialTokens = "text" } = sent;
  if (open.pictures.length > 0 && images.length > 0) {
    throw new EngineError(
      "bad-input",
      `${open.name} brings ${open.pictures.length} of its own and the option images ${images.length} more`,
      {
        hint: "give a message's pictures in the message, or all of them as images",
      },
    );
  }
  const said = oneSystem(sent.history?.system, system);
  return {
    system: oneSystem(sent.system, said),
    systemSaid: said !== undefined,
    turns: [...(sent.history?.turns ?? []), ...turns],
    question: open,
    images,
    frames: video,
    settings: { maxTiles, maxPixels, maxSide, allowTruncated, decoder },
    specialTokens,
    generation: generation(sent),
  };
}

/** What `chat` was given. @throws EngineError bad-input */
export function acceptChat(question: unknown, options: unknown): Accepted {
  const read = reading("the question", () => asked(question, "the question"));
  const { signal, onProgress, ...sent } = readOptions("chat", options, CHAT);
  return { ask: ask(read, sent), signal, onProgress };
}

/** What a session's `send` was given; its history is added when its turn comes. @throws EngineError bad-input */
export function acceptSend(question: unknown, options: unknown): Accepted {
  const read = reading("the question", () => asked(question, "the question"));
  const { signal, onProgress, ...sent } = readOptions("send", options, SEND);
  return { ask: ask(read, sent), signal, onProgress };
}

/** What `session` was given. @throws EngineError bad-input */
export function acceptSession(options: unknown): SessionStart {
  const read = readOptions("session", options, { system: text, history });
  const said = read.history?.system;
  return { system: oneSystem(read.system, said), systemSaid: said !== undefined, turns: read.history?.turns ?? [] };
}

/** The same question as a later one of a conversation. @throws EngineError bad-input where it names another system message */
export function continued(later: Ask, { system, systemSaid, turns }: SessionStart): Ask {
  return {
    ...later,
    system: oneSystem(system, later.system),
    systemSaid: systemSaid || later.systemSaid,
    turns: [...turns, ...later.turns],
  };
}

const { signal: _, onProgress: __, ...ITEM_OPTIONS } = CHAT;
const ITEM = { prompt: (value: unknown) => value, ...ITEM_OPTIONS };

const isMessages = (prompt: readonly unknown[]): boolean => prompt.some((each) => typeof each === "object" && each !== null);

/** The next question of the same conversation. */
export function following(before: Ask, question: string, said: readonly Message[]): Ask {
  const next = { name: "the question", text: question, pictures: [] };
  return { ...before, turns: history(said, "history").turns, question: next, images: [], frames: [] };
}

/** One item, with the batch's options where it has none of its own. @throws EngineError bad-input */
export function acceptItem(item: unknown, index: number, defaults: Read<typeof GENERATION>): AcceptedItem {
  const name = `item ${index + 1}`;
  const needs = "an object with a prompt: { prompt, images, … }";
  if (item === undefined || item === null) throw wrong(name, item, needs);
  const { prompt, ...sent } = readOptions(name, item, ITEM, needs);
  return reading(`the prompt of ${name}`, () => prompted(prompt, name, { ...defaults, ...sent }));
}

function prompted(prompt: unknown, name: string, options: Sent): AcceptedItem {
  if (isList(prompt) && !isMessages(Array.from(prompt))) {
    const [first, ...more] = Array.from(prompt, (each, i) => text(each, `the prompt's question ${i + 1}`));
    if (first === undefined) throw wrong(`the prompt of ${name}`, prompt, "at least one question");
    return { ask: ask(asked(first, ""), options), more };
  }
  return { ask: ask(asked(prompt, `the prompt of ${name}`), options), more: [] };
}

const BATCH = {
  rows: count,
  kvBytes: count,
  maxContext: count,
  onResult: callback<(result: BatchResult, index: number) => unknown>(),
  ...GENERATION,
  signal,
};

/** What `batch` was given; its items are read one by one, each when it is asked. @throws EngineError bad-input */
export function acceptBatch(items: unknown, options: unknown): { items: readonly unknown[] } & Read<typeof BATCH> {
  const list = reading("the list of items", () => {
    if (!isList(items)) throw wrong("what batch was given as items", items, "a list: [{ prompt, images, … }, …]");
    return Array.from(items);
  });
  return { items: list, ...readOptions("batch", options, BATCH) };
}
