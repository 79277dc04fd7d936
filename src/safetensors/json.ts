import { quote, SafetensorsError } from "./errors.ts";

/** A JSON value with nothing lost and nothing merged: objects are Maps, in file order. */
export type Json = null | boolean | number | NumberText | string | Json[] | Map<string, Json>;

/** A number that is not written as a plain integer in [0, 2^53 - 1] (`1.0`, `1e3`, `-1`, 2^53), as the file spells it. */
export interface NumberText {
  readonly number: string;
}

// What a document may cost. Each limit is far above any real checkpoint, and keeps a hostile 100 MB from exhausting stack or heap.
const MAX_DEPTH = 32;
const MAX_KEYS = 2 ** 17; // in one object: the largest index published so far names 92 thousand tensors, and each key costs time
const MAX_VALUES = 2 ** 14; // built by value(), in all

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const EXACT = /^(?:0|[1-9][0-9]{0,15})$/;

/**
 * A cursor over one strict JSON document (RFC 8259). The caller says what it expects and checks it on the way, so that nothing
 * is built from a document that will be refused; time is linear in the text read.
 *
 * Every method throws SafetensorsError on what is not JSON, and on duplicate keys, half surrogate pairs and exhausted limits.
 */
export class JsonReader {
  /** The tensor that the cursor is in, for messages. */
  tensor: string | undefined;
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #values = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    if (text.startsWith("\ufeff")) this.#fail("it begins with a byte order mark");
    this.#skipSpace();
  }

  /** The first character of the value at the cursor, which tells its kind; `""` at the end of the text. */
  peek(): string {
    return this.#text.charAt(this.#at);
  }

  /** Reads an object of at most `limit` keys; `visit` must read the value that belongs to `key`. */
  object(visit: (key: string) => void, limit = MAX_KEYS): void {
    const keys = new Set<string>();
    this.#list("{", "}", () => {
      if (this.peek() !== '"') this.#fail(`has ${this.#found()}, needs a key in double quotes`);
      const key = this.string();
      if (keys.has(key)) this.#fail(`duplicate key ${quote(key)}`);
      if (keys.size === limit) this.#fail(`more than ${limit} keys in one object`);
      keys.add(key);
      this.#skipSpace();
      if (this.peek() !== ":") this.#fail(`has ${this.#found()}, needs ":" after the key ${quote(key)}`);
      this.#at++;
      this.#skipSpace();
      visit(key);
    });
  }

  /** Reads an array; `visit` must read one item. */
  array(visit: () => void): void {
    this.#list("[", "]", visit);
  }

  /** Reads a plain integer in [0, 2^53 - 1]. Anything else gives `undefined` and leaves the cursor where it is. */
  integer(): number | undefined {
    const spelling = this.#number();
    const value = spelling !== undefined && EXACT.test(spelling) ? Number(spelling) : Number.NaN;
    if (!Number.isSafeInteger(value)) return undefined;
    this.#at += spelling!.length;
    return value;
  }

  /** Reads a string. */
  string(): string {
    const text = this.#text;
    if (this.peek() !== '"') this.#fail(`has ${this.#found()}, needs a string`);
    const from = this.#at++;
    let escaped = false;
    for (;;) {
      const code = text.charCodeAt(this.#at); // NaN at the end
      if (code === 0x22) break;
      if (code === 0x5c) {
        escaped = true;
        this.#at += 2;
      } else if (code >= 0x20) this.#at++;
      else this.#fail(this.#at >= text.length ? "a string does not end" : "a control character in a string");
    }
    this.#at++;
    return escaped ? this.#unescape(text.slice(from, this.#at)) : text.slice(from + 1, this.#at - 1);
  }

  /** Reads a value of any kind into memory. */
  value(depth = 1): Json {
    if (depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH}`);
    if (++this.#values > MAX_VALUES) this.#fail(`more than ${MAX_VALUES} values`);
    switch (this.peek()) {
      case "{": {
        const map = new Map<string, Json>();
        this.object((key) => map.set(key, this.value(depth + 1)));
        return map;
      }
      case "[": {
        const items: Json[] = [];
        this.array(() => items.push(this.value(depth + 1)));
        return items;
      }
      case '"':
        return this.string();
      default:
        return this.#scalar();
    }
  }

  /** Checks that nothing follows but padding: spaces only in a header, any white space (the default) elsewhere. */
  end(padding: RegExp = /[ \t\r\n]*/y): void {
    padding.lastIndex = this.#at;
    this.#at += padding.exec(this.#text)?.[0].length ?? 0;
    if (this.#at < this.#text.length) this.#fail(`has ${this.#found()} after the end of the document`);
  }

  /** What lies at the cursor, in words, for a message that refuses it. */
  describe(): string {
    const first = this.peek();
    if (first === "{") return "an object";
    if (first === "[") return "a list";
    if (first === '"') return `the string ${quote(this.string())}`;
    const value = this.#scalar();
    return typeof value === "object" && value !== null ? `the number ${quote(value.number)}` : String(value);
  }

  #scalar(): null | boolean | number | NumberText {
    for (const [spelling, value] of [
      ["true", true],
      ["false", false],
      ["null", null],
    ] as const) {
      if (this.#text.startsWith(spelling, this.#at)) {
        this.#at += spelling.length;
        return value;
      }
    }
    const exact = this.integer();
    if (exact !== undefined) return exact;
    const spelling = this.#number() ?? this.#fail(`has ${this.#found()}, needs a value`);
    this.#at += spelling.length;
    return { number: spelling };
  }

  /** The number at the cursor, not moving it. */
  #number(): string | undefined {
    NUMBER.lastIndex = this.#at;
    const spelling = NUMBER.exec(this.#text)?.[0];
    // "01" matches as "0" and "1." as "1": say so here rather than "needs a comma" later.
    if (spelling !== undefined && /[0-9.eE]/.test(this.#text.charAt(this.#at + spelling.length))) {
      this.#fail("a number is malformed (a leading zero, or digits missing)");
    }
    return spelling;
  }

  /** The text of a literal that has escapes. One string holds neither keys nor numbers: here JSON.parse is strict, and fast. */
  #unescape(literal: string): string {
    let value: string;
    try {
      value = JSON.parse(literal);
    } catch {
      this.#fail(`a bad escape in the string ${quote(literal.slice(1, -1))}`);
    }
    // Only an escape can spell half a surrogate pair; such a name has no UTF-8 and could not be written back.
    if (/\p{Surrogate}/u.test(value)) this.#fail("half a surrogate pair in a string");
    return value;
  }

  /** Reads `open item, item, … close`, the shape that objects and arrays share. */
  #list(open: string, close: string, item: () => void): void {
    if (this.peek() !== open) this.#fail(`has ${this.#found()}, needs "${open}"`);
    this.#at++;
    this.#skipSpace();
    let next = this.peek();
    if (next === close) this.#at++;
    while (next !== close) {
      item();
      this.#skipSpace();
      next = this.peek();
      if (next !== "," && next !== close) this.#fail(`has ${this.#found()}, needs "," or "${close}"`);
      this.#at++;
      if (next === ",") this.#skipSpace();
    }
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #found(): string {
    return this.peek() === "" ? "nothing" : quote(String.fromCodePoint(this.#text.codePointAt(this.#at)!));
  }

  #fail(problem: string): never {
    const hint = "the file is damaged, or no safetensors file: fetch it again";
    throw new SafetensorsError(`bad JSON at character ${this.#at}: ${problem}`, { file: this.#file, tensor: this.tensor, hint });
  }
}

/** Decodes UTF-8; a byte order mark stays in the text, to be refused. @throws SafetensorsError where the bytes are not UTF-8 */
export function decodeUtf8(bytes: Uint8Array, file: string, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SafetensorsError(`${what} is not valid UTF-8`, { file, hint: "the file is damaged: fetch it again", cause });
  }
}
