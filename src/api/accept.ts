import { EngineError } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import {
  callback,
  count,
  flag,
  isRecord,
  number,
  oneOf,
  quotedPath,
  type Read,
  type Reader,
  reading,
  readOptions,
  signal,
  text,
  wrong,
} from "../options.ts";
import type { Accepted, Ask, Clip } from "./asking.ts";
import { GENERATION, generation } from "./generation.ts";
import { isBlob, isBuffer, isUrlObject } from "./images.ts";
import { type Asked, at, type Conversation, conversation, history, oneSystem, type SessionStart, tileCount } from "./messages.ts";
import { isList, type Picture, pictures } from "./pictures.ts";
import type { BatchResult } from "./reply.ts";

const bound: Reader<[number, number]> = (value, name) => {
  const [start, end] = isList(value) && value.length === 2 ? Array.from(value) : [];
  if (!seconds(start) || !seconds(end) || start >= end) throw wrong(name, value, "[start, end] in seconds, the start first");
  return [start, end];
};
const seconds = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value) && value >= 0;

const videoFile: Reader<Clip["src"]> = (value, name) => {
  if (typeof value === "string" && value.trim() !== "") return value;
  if (typeof value === "object" && value !== null) {
    if (isUrlObject(value)) return value.href;
    if (isBlob(value) || isBuffer(value)) return value;
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw wrong(name, value, "a video: a path, a URL, a Blob or the bytes of its file");
};

/** The frames that a question is asked about: given as pictures, or to be taken of a video file. */
const video: Reader<{ frames: Picture[]; clip?: Clip }> = (value, name) => {
  if (isRecord(value)) {
    const read = readOptions(name, value, { src: at(name, videoFile), frames: at(name, count), bound: at(name, bound) });
    const clip = { src: read.src ?? videoFile(undefined, `${name}.src`), frames: read.frames ?? FRAMES, bound: read.bound };
    if (clip.frames > MOST_FRAMES) throw wrong(`${name}.frames`, clip.frames, `at most ${MOST_FRAMES}`);
    return { frames: Array.from({ length: clip.frames }, (_, i) => ({ name: `frame ${i + 1}`, sources: [clip.src] })), clip };
  }
  if (!isList(value)) {
    const hint = `write ${name}: { src: ${typeof value === "string" ? quotedPath(value) : "…"} } for a video file`;
    throw wrong(name, value, "a list of frames, each a picture, or { src, frames, bound }", hint);
  }
  const frames = pictures(value, name, "frame");
  if (frames.length === 0) throw wrong(name, value, "at least one frame");
  const combined = frames.find(({ sources }) => sources.length > 1);
  if (combined) throw wrong(combined.name, combined.sources, "one picture");
  return { frames };
};

/** How many frames of a video are taken by default, as the model card does, and at most. */
const FRAMES = 8;
const MOST_FRAMES = 1024;

const positive = (what: string): Reader<number> => number(`a positive number of ${what}`, (v) => v > 0);

/** What comes with a question, a turn's own. */
const SEND = {
  images: (value: unknown, name: string) => pictures(value, name, "image"),
  video,
  maxTiles: tileCount,
  maxPixels: positive("pixels"),
  maxSide: positive("pixels"),
  allowTruncated: flag,
  decoder: oneOf("auto", "js", "native"),
  specialTokens: oneOf("text", "parse"),
  ...GENERATION,
  signal,
  onProgress: callback<(progress: PromptProgress) => void>(),
};

/** What `chat` takes, each option with its reader. */
export const CHAT = { ...SEND, history, system: text };

/** The options of a question that were read, but for its signal and its progress. */
export type Sent = Read<Omit<typeof CHAT, "signal" | "onProgress">>;

/** The conversation that a question stands for: a text, or messages that end with a user's. */
export function asked(question: unknown, name: string): Conversation & { open: Asked } {
  if (typeof question === "string") return { turns: [], open: { name: "the question", text: question, pictures: [] } };
  if (!isList(question)) throw wrong(name, question, "a text, or a list of messages { role, content }");
  const read = conversation(question, "messages");
  if (!read.open) {
    const last = question.length > 0 ? `end with ${read.turns.length > 0 ? "an answer" : "the system message"}` : "are an empty list";
    throw new EngineError("bad-input", `the messages ${last}, they need a user's message at the end`);
  }
  return { ...read, open: read.open };
}

/** A question with everything that was sent along. @throws EngineError bad-input for pictures in two places, and system messages that differ */
export function ask({ system, systemTexts, turns, open }: Conversation & { open: Asked }, sent: Sent): Ask {
  const { images = [], video, maxTiles, maxPixels, maxSide, allowTruncated, decoder, specialTokens = "text" } = sent;
  if (open.pictures.length > 0 && images.length > 0) {
    const problem = `${open.name} brings ${open.pictures.length} of its own and the option images ${images.length} more`;
    throw new EngineError("bad-input", problem, { hint: "give a message's pictures in the message, or all of them as images" });
  }
  const said = oneSystem(sent.history?.system, system);
  return {
    system: oneSystem(sent.system, said),
    systemTexts: sent.history?.systemTexts ?? systemTexts,
    systemSaid: said !== undefined,
    turns: [...(sent.history?.turns ?? []), ...turns],
    question: open,
    images,
    frames: video?.frames ?? [],
    clip: video?.clip,
    settings: { maxTiles, maxPixels, maxSide, allowTruncated, decoder },
    specialTokens,
    generation: generation(sent),
  };
}

const accepting =
  (what: string, shape: typeof SEND | typeof CHAT) =>
  (question: unknown, options: unknown): Accepted => {
    const read = reading("the question", () => asked(question, "the question"));
    const { signal, onProgress, ...sent } = readOptions(what, options, shape) as Read<typeof CHAT>;
    return { ask: ask(read, sent), signal, onProgress };
  };

/** What `chat` was given. @throws EngineError bad-input */
export const acceptChat = accepting("chat", CHAT);

/** What a session's `send` was given; its history is added when its turn comes. @throws EngineError bad-input */
export const acceptSend = accepting("send", SEND);

/** What `session` was given. @throws EngineError bad-input */
export function acceptSession(options: unknown): SessionStart {
  const read = readOptions("session", options, { system: text, history });
  const said = read.history?.system;
  const { turns = [], systemTexts } = read.history ?? {};
  return { system: oneSystem(read.system, said), systemTexts, systemSaid: said !== undefined, turns };
}

/** The same question as a later one of a conversation. @throws EngineError bad-input where it names another system message */
export function continued(later: Ask, { system, systemTexts, systemSaid, turns }: SessionStart): Ask {
  return {
    ...later,
    system: oneSystem(system, later.system),
    systemTexts: systemTexts ?? later.systemTexts,
    systemSaid: systemSaid || later.systemSaid,
    turns: [...turns, ...later.turns],
  };
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
