import { isRecord, oneOf, type Reader, text, wrong } from "../options.ts";
import { nested, unsupported } from "./openai-fields.ts";
import type { ChatToolCall } from "./openai-types.ts";
import { isList } from "./pictures.ts";

const OPEN = "<tool_call>";
const CLOSE = "</tool_call>";

/** JSON as Python's `json.dumps(…, ensure_ascii=False)` writes it: so the model has seen it in training. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}: ${pythonJson(each)}`).join(", ")}}`;
}

const any: Reader<unknown> = (value) => value;
const record: Reader<Record<string, unknown>> = (value, name) => {
  if (!isRecord(value)) throw wrong(name, value, "an object");
  return value;
};
const name: Reader<string> = (value, at) => {
  if (typeof value !== "string" || !/^[\w.-]{1,64}$/.test(value)) throw wrong(at, value, "a name of 1 to 64 letters, digits, _, - and .");
  return value;
};

/** The tools of a request as Qwen2.5's template writes them behind the system message; undefined where there are none to be used. */
export function toolsText(tools: unknown, choice: unknown): string | undefined {
  if (choice !== undefined) {
    const forced = choice === "required" || (isRecord(choice) && choice.type === "function");
    if (forced) throw unsupported("tool_choice", "tool_choice that forces a call", 'use "auto", and ask for the call in words');
    oneOf("auto", "none")(choice, "tool_choice");
  }
  if (tools === undefined) {
    if (choice === undefined || choice === "none") return undefined;
    throw wrong("tools", tools, "a list of tools where tool_choice is given");
  }
  if (!isList(tools)) throw wrong("tools", tools, "a list of tools { type, function }");
  const lines = Array.from(tools, (tool, i) => {
    const at = `tools[${i}]`;
    const read = nested(tool, at, { type: oneOf("function"), function: record });
    if (!read.function) throw wrong(`${at}.function`, read.function, "an object with name, description, parameters");
    const said = nested(read.function, `${at}.function`, { name, description: text, parameters: record, strict: any });
    if (said.name === undefined) throw wrong(`${at}.function.name`, said.name, "a text");
    const { name: called, description, parameters } = said;
    return pythonJson({ type: "function", function: { name: called, description, parameters } });
  });
  if (lines.length === 0 || choice === "none") return undefined;
  return [
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n",
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    ...lines,
    "</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:",
    `${OPEN}\n{"name": <function-name>, "arguments": <args-json-object>}\n${CLOSE}`,
  ].join("\n");
}

/** Calls of an assistant's message. @throws EngineError bad-input */
export function toolCalls(value: unknown, at: string): { name: string; arguments: unknown }[] {
  if (!isList(value)) throw wrong(at, value, "a list of calls { id, type, function }");
  return Array.from(value, (call, i) => {
    const read = nested(call, `${at}[${i}]`, { id: text, index: any, type: oneOf("function"), function: record });
    const said = nested(read.function, `${at}[${i}].function`, { name, arguments: text });
    if (said.name === undefined) throw wrong(`${at}[${i}].function.name`, said.name, "a text");
    try {
      return { name: said.name, arguments: JSON.parse(said.arguments || "{}") };
    } catch {
      throw wrong(`${at}[${i}].function.arguments`, said.arguments, "a text that is JSON");
    }
  });
}

export const callText = (call: { name: string; arguments: unknown }): string => `${OPEN}\n${pythonJson(call)}\n${CLOSE}`;
export const responseText = (said: string): string => `<tool_response>\n${said}\n</tool_response>`;

/** The length of the longest end of `text` that is a beginning of `word`. */
function overlap(text: string, word: string): number {
  for (let length = Math.min(text.length, word.length - 1); length > 0; length--) if (text.endsWith(word.slice(0, length))) return length;
  return 0;
}

/**
 * Finds calls in an answer as it comes. What may be the beginning of one is held back; what is none after all (its JSON is damaged, or the
 * answer ends in it) comes out as text.
 */
export class CallFinder {
  #held = ""; // may be the beginning of OPEN
  #call: string[] | undefined; // the pieces of a call that has begun
  #tail = ""; // its last characters, fewer than CLOSE has: nothing before them is looked at again

  /** @returns the text and the calls that are certain now */
  push(piece: string): { text: string; calls: ChatToolCall[] } {
    let text = "";
    const calls: ChatToolCall[] = [];
    for (let rest = piece; ; ) {
      if (!this.#call) {
        const outside = this.#held + rest;
        const start = outside.indexOf(OPEN);
        const end = start < 0 ? outside.length - overlap(outside, OPEN) : start;
        text += outside.slice(0, end);
        this.#held = start < 0 ? outside.slice(end) : "";
        if (start < 0) return { text, calls };
        this.#call = [];
        this.#tail = "";
        rest = outside.slice(start);
      }
      const seen = this.#tail + rest;
      const close = seen.indexOf(CLOSE);
      const end = close < 0 ? rest.length : close + CLOSE.length - this.#tail.length;
      this.#call.push(rest.slice(0, end));
      if (close < 0) {
        this.#tail = seen.slice(1 - CLOSE.length);
        return { text, calls };
      }
      const whole = this.#call.join("");
      const call = callOf(whole.slice(OPEN.length, -CLOSE.length));
      if (call) calls.push(call);
      else text += whole;
      this.#call = undefined;
      rest = rest.slice(end);
    }
  }

  /** What is no call after all. */
  end(): string {
    return this.#held + (this.#call?.join("") ?? "");
  }
}

function callOf(json: string): ChatToolCall | undefined {
  try {
    const call: unknown = JSON.parse(json);
    if (!isRecord(call) || typeof call.name !== "string" || !isRecord(call.arguments ?? {})) return undefined;
    const id = `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
    return { id, type: "function", function: { name: call.name, arguments: JSON.stringify(call.arguments ?? {}) } };
  } catch {
    return undefined;
  }
}
