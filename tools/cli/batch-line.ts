import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { EngineError } from "../../src/errors.ts";
import type { BatchItem, VideoFile } from "../../src/index.ts";
import { isRecord, number, type Reader, readOptions, text, wrong } from "../../src/options.ts";
import { type Line, MOST_LINE } from "./lines.ts";

export type Id = string | number;

/** A video file, and what is taken of it: the library reads the rest. */
interface Video {
  src: string;
  frames?: unknown;
  bound?: unknown;
}

/** What a line asks. */
export interface Conversation {
  turns: string[];
  images: (string | string[])[] | undefined;
  video: string[] | Video | undefined;
  maxTiles: number | undefined;
}

/** A line that was read: what it asks, or what is wrong with it. */
export type Asked = { id: Id; number: number } & ({ conversation: Conversation; hash: string } | { error: EngineError });

/** An id as a key: 1 and "1" are two. */
export const keyOf = (id: Id): string => JSON.stringify(id);

export const isId = (value: unknown): value is Id =>
  typeof value === "string" ||
  (typeof value === "number" && Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)));

const id: Reader<Id> = (value, name) => {
  if (!isId(value)) throw wrong(name, value, "a text, or a number of at most 15 digits");
  return value;
};

const listOf =
  <T>(what: string, each: Reader<T>): Reader<T[]> =>
  (value, name) => {
    if (!Array.isArray(value) || value.length === 0) throw wrong(name, value, `a list of ${what}`);
    return value.map((entry, i) => each(entry, `${name}[${i}]`));
  };

const paths = listOf("paths or addresses of pictures", text);

const SHAPE = {
  id,
  turns: listOf("questions, each a text", text),
  images: ((value, name) => {
    if (!Array.isArray(value)) throw wrong(name, value, "a list of paths or addresses of pictures");
    return value.map((entry: unknown, i) => (Array.isArray(entry) ? paths(entry, `${name}[${i}]`) : text(entry, `${name}[${i}]`)));
  }) satisfies Reader<(string | string[])[]>,
  video: ((value, name) => {
    if (!isRecord(value)) return listOf("paths or addresses of frames, or { src, frames, bound }", text)(value, name);
    const { src, ...rest } = readOptions(name, value, { src: text, frames: (given) => given, bound: (given) => given });
    if (src === undefined) throw wrong(`${name}.src`, src, "a path or an address");
    return { src, ...rest };
  }) satisfies Reader<string[] | Video>,
  maxTiles: number("an integer from 1 to 40", (value) => Number.isInteger(value) && value >= 1 && value <= 40),
};

/** The id of a line that is not JSON, where it stands in front. */
function salvagedId(line: string): Id | undefined {
  const [, found] = /^\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.){0,1000}"|-?\d+(?:\.\d+)?)\s*[,}]/.exec(line) ?? [];
  try {
    const value: unknown = found === undefined ? undefined : JSON.parse(found);
    return isId(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function parse({ text: line, tooLong }: Line): unknown {
  if (tooLong)
    throw new EngineError("bad-input", `it has more than ${MOST_LINE} bytes`, {
      hint: "name pictures by their paths instead of writing them out",
    });
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new EngineError("bad-input", `it is not JSON: ${(cause as Error).message.slice(0, 200)}`, {
      cause,
      hint: "write one JSON object a line",
    });
  }
}

/** Reads a line; whatever is wrong with it is its own affair. Its id is kept where it has one, and is else the line's number. */
export function readLine(line: Line): Asked {
  const { number } = line;
  let value: unknown;
  try {
    value = parse(line);
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong("it", value, 'an object: {"turns": ["a question"], …}');
    const { id: given = number, turns, images, video, maxTiles } = readOptions("it", value, SHAPE);
    if (turns === undefined)
      throw new EngineError("bad-input", 'it has no "turns", a list of questions', {
        hint: 'write {"turns": ["What is it?"], "images": ["a.png"]}',
      });
    const conversation: Conversation = { turns, images, video, maxTiles };
    const hash = createHash("sha256")
      .update(JSON.stringify([turns, images, video, maxTiles]))
      .digest("hex")
      .slice(0, 16);
    return { id: given, number, conversation, hash };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { code, message, hint, cause } = error;
    const given = (value as { id?: unknown } | null | undefined)?.id;
    const own = isId(given) ? given : salvagedId(line.text);
    return { id: own ?? number, number, error: new EngineError(code, `line ${number}: ${message}`, { hint, cause }) };
  }
}

/** A conversation as the library takes it. Addresses stay as they are; a path is relative to the input's folder, or else to the working directory. */
export function itemOf({ turns, images, video, maxTiles }: Conversation, folder: string): BatchItem {
  const located = (path: string): string =>
    /^(https?|data|file):/i.test(path)
      ? path
      : ([resolve(folder, path), resolve(path)].find((each) => existsSync(each)) ?? resolve(folder, path));
  return {
    prompt: turns,
    images: images?.map((entry) => (Array.isArray(entry) ? entry.map(located) : located(entry))),
    video: Array.isArray(video) ? video.map(located) : video && ({ ...video, src: located(video.src) } as VideoFile),
    maxTiles,
  };
}
