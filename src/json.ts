import { badWeights } from "./errors.ts";
import { described, quoted } from "./options.ts";

/** Far above any file of a checkpoint, far below what a stack holds. */
const MOST_DEPTH = 64;

const DAMAGED = "the file is damaged or incomplete: fetch it again";

/** Git LFS puts such a text in place of a large file that it has not fetched. */
const LFS_POINTER = "version https://git-lfs.github.com/spec/";

/**
 * A file of a checkpoint as text.
 *
 * @throws EngineError bad-weights where it is not UTF-8, or the pointer that Git LFS left in its place
 */
export function decodeText(name: string, bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badWeights(`${name} is not UTF-8 text`, DAMAGED, cause);
  }
  if (text.startsWith(LFS_POINTER)) {
    throw badWeights(`${name} is a Git LFS pointer: the file itself has not been fetched`, "run `git lfs pull` in the model's folder");
  }
  return text;
}

const [QUOTE, BACKSLASH, COMMA, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [...'"\\,[]{}'].map((character) => character.charCodeAt(0));

/** What `JSON.parse` lets pass: a key that stands twice in one object (it keeps the last), and any depth. `text` is JSON. */
function flaw(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each object around the cursor; undefined for a list
  let key = false; // whether the next string is a key
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const from = at++;
      let escaped = false;
      for (let inner = text.charCodeAt(at); inner !== QUOTE; inner = text.charCodeAt(++at)) {
        if (inner !== BACKSLASH) continue;
        escaped = true;
        at++;
      }
      if (!key) continue;
      key = false;
      const name = escaped ? (JSON.parse(text.slice(from, at + 1)) as string) : text.slice(from + 1, at);
      const names = open.at(-1)!;
      if (names.has(name)) return `has the key ${quoted(name)} twice in one object`;
      names.add(name);
    } else if (code === OPEN || code === OPEN_LIST) {
      key = code === OPEN;
      open.push(key ? new Set() : undefined);
      if (open.length > MOST_DEPTH) return `is nested deeper than ${MOST_DEPTH}`;
    } else if (code === CLOSE || code === CLOSE_LIST) {
      open.pop();
      key = false;
    } else if (code === COMMA) key = open.at(-1) !== undefined;
  }
  return undefined;
}

/**
 * Reads a JSON file of a checkpoint that must hold an object. Stricter than `JSON.parse`: no key twice, and no depth that a stack cannot
 * hold. The object's keys may be any text: look them up with `Object.hasOwn`.
 *
 * @throws EngineError bad-weights naming the file
 */
export function parseJsonObject(name: string, bytes: Uint8Array): Record<string, unknown> {
  const text = decodeText(name, bytes);
  const refuse = (problem: string, cause?: unknown) => badWeights(`${name} ${problem}`, DAMAGED, cause);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = (cause as Error).message.replace(/\s+/g, " "); // it quotes some of the text
    throw refuse(`is not JSON: ${why.slice(0, 200)}`, cause);
  }
  const found = flaw(text);
  if (found !== undefined) throw refuse(found);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refuse(`must hold a JSON object, it holds ${described(value)}`);
}

/** Reads a file of a checkpoint's folder; undefined where there is none. */
export type ReadFile = (name: string) => Promise<Uint8Array | undefined>;

/** A JSON file of a checkpoint, where it has one. @throws EngineError bad-weights naming the file */
export async function readJson(read: ReadFile, name: string): Promise<Record<string, unknown> | undefined> {
  const bytes = await read(name);
  return bytes && parseJsonObject(name, bytes);
}
