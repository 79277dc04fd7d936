import { EngineError } from "./errors.ts";

/** Reads one value that a caller gave: returns it checked, or throws `bad-input`. `name` is how the caller calls it. */
export type Reader<T> = (value: unknown, name: string) => T;

/** What an object of options may hold: a reader for every key. */
export type Shape = Readonly<Record<string, Reader<unknown>>>;

/** What a shape reads. A key that is absent, undefined or null is left out. */
export type Read<S extends Shape> = { [K in keyof S]?: ReturnType<S[K]> };

const MOST_SHOWN = 60;

/** A text in quotation marks, cut where it is long: a caller may have given a whole file. */
export const quoted = (text: string): string => {
  const short = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN - 20)}…` : text;
  const length = text.length > MOST_SHOWN ? ` (${text.length} characters)` : "";
  return JSON.stringify(short) + length;
};

/** Whether something is an object with all of some properties: how objects of another realm are told apart. */
export const has = (value: unknown, ...names: string[]): boolean =>
  typeof value === "object" && value !== null && names.every((name) => name in value);

/** The same of objects whose properties are functions. */
export const can = (value: unknown, ...names: string[]): boolean =>
  has(value, ...names) && names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");

/** A path in quotation marks: its end says most, so a long one is cut in the middle. */
export const quotedPath = (path: string): string =>
  path.length <= 120 ? JSON.stringify(path) : `${JSON.stringify(`${path.slice(0, 20)}…${path.slice(-60)}`)} (${path.length} characters)`;

/** What a value is, in a few words, for a message: `"5"`, `12`, `a list of 3`, `an object with a, b`, `a Uint8Array`. Never throws. */
export function described(value: unknown): string {
  try {
    if (typeof value === "string") return quoted(value);
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "function") return "a function";
    if (typeof value === "symbol") return "a symbol";
    if (typeof value !== "object" || value === null) return String(value);
    if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
    const kind = Object.prototype.toString.call(value).slice("[object ".length, -1);
    if (kind !== "Object") return /^[AEIO]/.test(kind) ? `an ${kind}` : `a ${kind}`;
    const keys = Object.keys(value);
    if (keys.length === 0) return "an object without keys";
    const names = keys.slice(0, 5).map((key) => (key.length > 20 ? `${key.slice(0, 20)}…` : key));
    return `an object with ${names.join(", ")}${keys.length > 5 ? ", …" : ""}`;
  } catch {
    return "an object that cannot be read";
  }
}

/** The error for a value of the wrong kind: what it is, what it has, what it needs, and what to do. */
export function wrong(name: string, value: unknown, needs: string, hint?: string): EngineError {
  return new EngineError("bad-input", `${name} is ${described(value)}, needs ${needs}`, { hint, param: name });
}

/** How other libraries call what ours calls otherwise. */
const ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  history: ["conversation", "messages"],
  images: ["img", "imgs", "picture", "pictures"],
  maxContext: ["context", "contextlength", "ctx", "nctx"],
  maxTiles: ["maxnum"],
  maxTokens: ["maxcompletiontokens", "maxnewtokens", "npredict", "numpredict"],
  onProgress: ["onprogresscallback", "progresscallback"],
  prompt: ["question"],
  question: ["prompt"],
  signal: ["abortsignal"],
  stop: ["stopsequences", "stopstrings"],
  system: ["systemmessage", "systemprompt"],
  temperature: ["temp"],
  video: ["frames"],
  weights: ["dtype", "quantization"],
};

/** Letters and digits only, in small letters: `max_tokens`, `max-tokens` and `maxTokens` are one. */
const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** How many letters must change to make one word of the other (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The known name that a caller most likely meant; `undefined` where none is near. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const word = plain(name.slice(0, 40));
  const same = known.find((each) => plain(each) === word) ?? known.find((each) => ELSEWHERE[each]?.includes(word));
  if (same !== undefined || word.length < 3) return same;
  const near = known.map((each) => ({ each, steps: distance(word, plain(each)) })).sort((a, b) => a.steps - b.steps)[0];
  return near && near.steps <= Math.max(1, Math.floor(word.length / 4)) ? near.each : undefined;
}

/** The error for a key that nobody reads, with the name that was probably meant. */
export function unknownKey(what: string, key: string, known: readonly string[]): EngineError {
  const meant = nearest(key, known);
  return new EngineError("bad-input", `${what} has no option ${quoted(key)}${meant ? `; did you mean ${quoted(meant)}?` : ""}`, {
    hint: `it has ${known.join(", ")}`,
    param: key,
  });
}

/** Whether a value is an object of options: not a list, a file, a buffer, a URL or anything else that has a meaning of its own. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  if (Object.prototype.toString.call(value) !== "[object Object]") return false;
  const base = Object.getPrototypeOf(value) as object | null;
  return base === null || Object.getPrototypeOf(base) === null || Object.keys(value).length > 0;
}

/**
 * Reads what a caller gave. Objects can throw when they are looked at (getters, proxies, iterators): that is the caller's mistake too, and
 * becomes a `bad-input`.
 *
 * @param what how messages call the value
 */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError("bad-input", `${what} cannot be read: ${described(messageOf(cause))}`, { cause });
  }
}

function messageOf(thrown: unknown): unknown {
  try {
    return thrown instanceof Error ? thrown.message : thrown;
  } catch {
    return undefined; // a proxy may have been thrown
  }
}

/**
 * Reads an object of options. Every key is read once, unknown ones are refused by name, `null` and `undefined` mean absent.
 *
 * @param what how messages call the object: `chat`, `item 3`
 * @param needs what to say where the value is not an object at all
 * @throws EngineError bad-input
 */
export function readOptions<S extends Shape>(what: string, value: unknown, shape: S, needs = "an object of options"): Read<S> {
  const read: Record<string, unknown> = {};
  if (value === undefined || value === null) return read as Read<S>;
  return reading(`the options of ${what}`, () => {
    if (!isRecord(value)) throw wrong(`what ${what} was given as options`, value, needs, `write { ${Object.keys(shape)[0]}: … }`);
    const known = Object.keys(shape);
    for (const key of Object.keys(value)) if (!Object.hasOwn(shape, key) && value[key] !== undefined) throw unknownKey(what, key, known);
    for (const key of known) {
      const given = value[key];
      if (given !== undefined && given !== null) read[key] = shape[key]!(given, key);
    }
    return read as Read<S>;
  });
}

/** Anything, as it is. */
export const any: Reader<unknown> = (value) => value;

/** A text. */
export const text: Reader<string> = (value, name) => {
  if (typeof value !== "string") throw wrong(name, value, "a text");
  return value;
};

/** True or false. */
export const flag: Reader<boolean> = (value, name) => {
  if (typeof value !== "boolean") throw wrong(name, value, "true or false");
  return value;
};

/** A number that `fits`; `needs` says which: `a number from 0 to 1`. */
export const number =
  (needs: string, fits: (value: number) => boolean): Reader<number> =>
  (value, name) => {
    if (typeof value !== "number" || !Number.isFinite(value) || !fits(value)) throw wrong(name, value, needs);
    return value;
  };

/** A whole number of things, from 1 on. */
export const count: Reader<number> = number("a positive integer", (value) => Number.isSafeInteger(value) && value >= 1);

/** One of some words. */
export const oneOf =
  <T extends string>(...words: readonly T[]): Reader<T> =>
  (value, name) => {
    if (!words.includes(value as T)) throw wrong(name, value, `one of ${words.join(", ")}`);
    return value as T;
  };

/** A function; what it takes and gives is the caller's affair. */
export const callback =
  <T extends (...args: never[]) => unknown>(): Reader<T> =>
  (value, name) => {
    if (typeof value !== "function") throw wrong(name, value, "a function");
    return value as T;
  };

/** An AbortSignal: told by shape, since it may come from another realm. */
export const signal: Reader<AbortSignal> = (value, name) => {
  if (!can(value, "addEventListener", "removeEventListener") || typeof (value as AbortSignal).aborted !== "boolean")
    throw wrong(name, value, "an AbortSignal", "give the signal of an AbortController: new AbortController().signal");
  return value as AbortSignal;
};

/** Bytes for a person: `7.4 GB`. */
export function sizeText(bytes: number): string {
  const [unit, name] = bytes < 1e6 ? [1e3, "kB"] : bytes < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${(bytes / (unit as number)).toFixed(1)} ${name}`;
}
