import { isRecord } from "../options.ts";
import { overlap } from "../text/stream.ts";
import type { ChatToolCallDelta } from "./openai-types.ts";

/** Before a call of a tool, in what the model writes. */
export const OPEN = "<tool_call>";
/** Behind a call of a tool. */
export const CLOSE = "</tool_call>";

/** How a call begins whose name is known and whose arguments come next. */
const HEAD = /^<tool_call>\s*\{\s*"name"\s*:\s*"([\w.-]{1,64})"\s*,\s*"arguments"\s*:\s*(?=\{)/;
const MOST_HEAD = 256; // characters

/** A call that has begun, as it comes. */
class Call {
  readonly raw: string[] = [];
  /** Known once it is certain that its arguments come next. */
  name: string | undefined;
  /** What came of its arguments, without spaces between them, and was not taken yet. */
  arguments = "";
  #head: string | undefined = ""; // undefined: known, or not to be known
  #tail = ""; // its last characters, fewer than CLOSE has: nothing before them is looked at again
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Takes its part of a piece. @returns what is behind its end, once that has come */
  take(piece: string): string | undefined {
    this.raw.push(piece);
    let at = 0;
    if (this.#head !== undefined) {
      this.#head += piece;
      const found = HEAD.exec(this.#head);
      if (found) {
        this.name = found[1];
        at = piece.length - (this.#head.length - found[0].length);
        this.#depth = -1; // before the first brace
      }
      if (found || this.#head.length > MOST_HEAD) this.#head = undefined;
    }
    if (this.#depth !== 0) at = this.#scan(piece, at);
    if (this.#depth !== 0) return undefined;
    const seen = this.#tail + piece.slice(at);
    const close = seen.indexOf(CLOSE);
    this.#tail = seen.slice(1 - CLOSE.length);
    return close < 0 ? undefined : seen.slice(close + CLOSE.length);
  }

  /** Reads arguments to their last brace, or to what no JSON has. @returns where they end in the piece */
  #scan(piece: string, from: number): number {
    for (let at = from; at < piece.length; at++) {
      const letter = piece[at]!;
      if (!this.#inString && letter === "<") {
        this.#depth = 0;
        return at;
      }
      if (this.#inString || !/\s/.test(letter)) this.arguments += letter;
      if (this.#escaped) this.#escaped = false;
      else if (this.#inString && letter === "\\") this.#escaped = true;
      else if (letter === '"') this.#inString = !this.#inString;
      else if (!this.#inString && (letter === "{" || letter === "[")) this.#depth = Math.max(0, this.#depth) + 1;
      else if (!this.#inString && (letter === "}" || letter === "]") && --this.#depth === 0) return at + 1;
    }
    return piece.length;
  }
}

/**
 * Finds calls in an answer as it comes. What may be the beginning of one is held back; what is none after all (its JSON is damaged, or the
 * answer ends before its name is known) comes out as text. A call that is cut has the arguments that it got.
 *
 * @param eager whether arguments come as they are written, and not as a whole, known to be JSON
 */
export function callFinder(eager: boolean) {
  let held = ""; // may be the beginning of OPEN
  let current: Call | undefined;
  let begun = false; // its name was told
  let count = 0;

  /** @returns the text and the pieces of calls that are certain now */
  function push(piece: string): { text: string; calls: ChatToolCallDelta[] } {
    let text = "";
    const calls: ChatToolCallDelta[] = [];
    for (let rest = piece; ; ) {
      if (!current) {
        const outside = held + rest;
        const start = outside.indexOf(OPEN);
        const end = start < 0 ? outside.length - overlap(outside, OPEN) : start;
        text += outside.slice(0, end);
        held = start < 0 ? outside.slice(end) : "";
        if (start < 0) return { text, calls };
        current = new Call();
        rest = outside.slice(start);
      }
      const behind = current.take(rest);
      if (eager) calls.push(...told());
      if (behind === undefined) return { text, calls };
      if (!begun) {
        const all = current.raw.join("");
        const whole = all.slice(0, all.length - behind.length);
        const call = callOf(whole.slice(OPEN.length, -CLOSE.length));
        if (call) calls.push(begin(call.name, call.arguments));
        else text += whole;
      }
      close();
      rest = behind;
    }
  }

  /** What is left where the answer ends: a call that is cut, or text that turned out not to be one. */
  function end(): { text: string; calls: ChatToolCallDelta[] } {
    const calls = told();
    const text = held + (begun ? "" : (current?.raw.join("") ?? ""));
    close();
    return { text, calls };
  }

  function close(): void {
    current = undefined;
    begun = false;
  }

  /** What of the call is known and was not told. */
  function told(): ChatToolCallDelta[] {
    const call = current;
    if (call?.name === undefined || (begun && call.arguments === "")) return [];
    call.raw.length = 0;
    const said = call.arguments;
    call.arguments = "";
    if (begun) return [{ index: count - 1, function: { arguments: said } }];
    begun = true;
    return [begin(call.name, said)];
  }

  function begin(name: string, said: string): ChatToolCallDelta {
    const id = `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
    return { index: count++, id, type: "function", function: { name, arguments: said } };
  }

  return { push, end };
}

function callOf(json: string): { name: string; arguments: string } | undefined {
  try {
    const call: unknown = JSON.parse(json);
    if (!isRecord(call) || typeof call.name !== "string" || !isRecord(call.arguments ?? {})) return undefined;
    return { name: call.name, arguments: JSON.stringify(call.arguments ?? {}) };
  } catch {
    return undefined;
  }
}

/** Puts pieces of calls behind those that are there: one of each. */
export function addCalls(calls: ChatToolCallDelta[], pieces: readonly ChatToolCallDelta[]): void {
  for (const piece of pieces) {
    const last = calls.at(-1);
    if (last?.index !== piece.index) calls.push({ ...piece, function: { ...piece.function } });
    else last.function.arguments += piece.function.arguments;
  }
}
