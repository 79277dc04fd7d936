import { badWeights, type EngineError } from "../errors.ts";
import { described, quoted } from "../options.ts";

/** What loads, for whoever has something else. */
export const FAMILY = "take InternVL2_5, InternVL3 or a dense InternVL3_5, OpenGVLab's folder or the one with -hf";

/** @param hint what to do; by default the file as it was published */
export const bad = (problem: string, hint?: string, file = "config.json"): EngineError =>
  badWeights(`${file}: ${problem}`, hint ?? `take ${file} as it was published, or ${FAMILY}`);

/**
 * Reads typed values of one JSON object, says by name what is wrong, and keeps account of what was read, so that no key that may change
 * the arithmetic is passed over (`rest`). A key that is null counts as absent, as it does upstream.
 */
export class Fields {
  readonly #json: Record<string, unknown>;
  readonly #path: string;
  readonly #file: string;
  readonly #read = new Set<string>();

  constructor(json: unknown, path: string, file = "config.json") {
    this.#file = file;
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      throw bad(`${path || "the file"} is ${json === undefined ? "missing" : described(json)}, needs to be an object`, undefined, file);
    }
    this.#json = json as Record<string, unknown>;
    this.#path = path ? `${path}.` : "";
  }

  keys(): string[] {
    return Object.keys(this.#json);
  }

  /** How messages call a key. */
  name(key: string): string {
    return this.#path + key;
  }

  /** A key's value as it is; undefined where it is absent or null. */
  get(key: string): unknown {
    this.#read.add(key);
    return Object.hasOwn(this.#json, key) ? (this.#json[key] ?? undefined) : undefined;
  }

  object(key: string): Fields {
    return new Fields(this.get(key), this.name(key), this.#file);
  }

  #value(key: string, fallback: unknown, hint?: string): unknown {
    const value = this.get(key) ?? fallback;
    if (value === undefined) throw bad(`${this.name(key)} is missing`, hint, this.#file);
    return value;
  }

  /** The error for a value of a key. */
  wrong(key: string, needs: string, hint?: string): EngineError {
    const value = this.get(key);
    const has = Array.isArray(value) && value.length < 5 && value.every(Number.isFinite) ? `[${value.join(", ")}]` : described(value);
    return bad(`${this.name(key)} is ${has}, needs ${needs}`, hint, this.#file);
  }

  /** A whole number from 1 to `most`: above it no model is, and counts of layers, rows or patches would not end. */
  count(key: string, most: number, fallback?: number): number {
    const value = this.#value(key, fallback);
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most) {
      throw this.wrong(key, `a whole number from 1 to ${most}`);
    }
    return value as number;
  }

  /** A number for which `fits` holds; `needs` says which: `a number above 0`. */
  number(key: string, needs: string, fits: (value: number) => boolean, fallback?: number): number {
    const value = this.#value(key, fallback);
    if (typeof value !== "number" || !Number.isFinite(value) || !fits(value)) throw this.wrong(key, needs);
    return value;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#value(key, fallback);
    if (typeof value !== "boolean") throw this.wrong(key, "true or false");
    return value;
  }

  /** One of some words or numbers. */
  oneOf<T extends string | number | boolean>(key: string, allowed: readonly T[], fallback?: T, hint?: string): T {
    const value = this.#value(key, fallback, hint);
    if (!allowed.includes(value as T)) {
      const needs = allowed.map((each) => (typeof each === "string" ? JSON.stringify(each) : String(each))).join(" or ");
      throw this.wrong(key, needs, hint);
    }
    return value as T;
  }

  text(key: string): string | undefined {
    const value = this.get(key);
    if (value !== undefined && typeof value !== "string") throw this.wrong(key, "a text");
    return value;
  }

  architecture<T extends string>(allowed: readonly T[], hint: string): T {
    const list = this.get("architectures");
    const first: unknown = Array.isArray(list) ? list[0] : list;
    if (!allowed.includes(first as T)) {
      const has = first === undefined ? "none" : described(first);
      throw bad(`unknown architecture ${has} in ${this.name("architectures")}, supported: ${allowed.join(", ")}`, hint, this.#file);
    }
    return first as T;
  }

  /**
   * Refuses a key that nobody has read, unless it says nothing (null, an empty list or object) or `harmless` knows that it changes nothing
   * of what the model computes.
   */
  rest(harmless: (key: string) => boolean): void {
    const empty = (value: unknown) => value === null || (typeof value === "object" && Object.keys(value).length === 0);
    for (const [key, value] of Object.entries(this.#json)) {
      if (this.#read.has(key) || empty(value) || harmless(key)) continue;
      throw bad(
        `${this.#path}${quoted(key).slice(1, -1)} is ${described(value)}: this engine does not know the key, and it may change what the model computes`,
        `if it changes nothing (training, bookkeeping), remove it from ${this.#file}; otherwise the model is of a kind that does not load`,
        this.#file,
      );
    }
  }
}
