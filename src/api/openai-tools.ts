import { any, flag, isRecord, oneOf, type Reader, text, wrong } from "../options.ts";
import type { CalledFunction } from "../text/grammar/schema.ts";
import { pythonJson } from "../text/python-json.ts";
import { plainSchema } from "./format.ts";
import { CLOSE, OPEN } from "./openai-calls.ts";
import { nested, record } from "./openai-fields.ts";
import { isList } from "./pictures.ts";

const name: Reader<string> = (value, at) => {
  if (typeof value !== "string" || !/^[\w.-]{1,64}$/.test(value)) throw wrong(at, value, "a name of 1 to 64 letters, digits, _, - and .");
  return value;
};

/** The tools of a request. */
export interface Tools {
  /** As Qwen2.5's template writes them behind the system message. */
  text: string;
  functions: readonly CalledFunction[];
  /** Whether one has to be called: any, or this one. */
  forced: boolean | string;
  /** Whether calls that nobody forces are held to their form: some tool is `strict`. */
  strict: boolean;
}

/** What `tool_choice` asks for. */
function chosen(choice: unknown): "auto" | "none" | "required" | { function: string } {
  if (!isRecord(choice)) return choice === undefined ? "auto" : oneOf("auto", "none", "required")(choice, "tool_choice");
  const read = nested(choice, "tool_choice", { type: oneOf("function"), function: record });
  const called = read.function && nested(read.function, "tool_choice.function", { name });
  if (called?.name === undefined) throw wrong("tool_choice", choice, "{ type: function, function: { name } }");
  return { function: called.name };
}

/** The tools of a request; undefined where there are none to be used. @throws EngineError bad-input */
export function readTools(tools: unknown, choice: unknown): Tools | undefined {
  const choosing = chosen(choice);
  if (tools === undefined) {
    if (choice === undefined || choice === "none") return undefined;
    throw wrong("tools", tools, "a list of tools where tool_choice is given");
  }
  if (!isList(tools)) throw wrong("tools", tools, "a list of tools { type, function }");
  const read = Array.from(tools, (tool, i) => {
    const at = `tools[${i}]`;
    const read = nested(tool, at, { type: oneOf("function"), function: record });
    if (!read.function) throw wrong(`${at}.function`, read.function, "an object with name, description, parameters");
    const said = nested(read.function, `${at}.function`, { name, description: text, parameters: record, strict: flag });
    if (said.name === undefined) throw wrong(`${at}.function.name`, said.name, "a text");
    const { name: called, description, parameters, strict = false } = said;
    const none = { type: "object", properties: {}, additionalProperties: false }; // as OpenAI has it
    const schema = plainSchema(parameters ?? none, `${at}.function.parameters`);
    const held = strict || choosing !== "auto" ? schema : { type: "object" };
    return {
      line: pythonJson({ type: "function", function: { name: called, description, parameters } }),
      function: { name: called, parameters: held, at: `${at}.function.parameters` },
      strict,
    };
  });
  if (read.length === 0 && choosing !== "auto" && choosing !== "none") throw wrong("tools", tools, "a tool that tool_choice can force");
  if (read.length === 0 || choosing === "none") return undefined;
  const named = typeof choosing === "object" ? choosing.function : undefined;
  const functions = read.map((each) => each.function).filter((each) => named === undefined || each.name === named);
  if (functions.length === 0) throw wrong("tool_choice", named, `one of the tools: ${read.map((each) => each.function.name).join(", ")}`);
  const lines = [
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n",
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    ...read.map(({ line }) => line),
    "</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:",
    `${OPEN}\n{"name": <function-name>, "arguments": <args-json-object>}\n${CLOSE}`,
  ];
  return { text: lines.join("\n"), functions, forced: named ?? choosing === "required", strict: read.some((each) => each.strict) };
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

/** A call of a tool as the model writes it. */
export const callText = (call: { name: string; arguments: unknown }): string => `${OPEN}\n${pythonJson(call)}\n${CLOSE}`;
/** What a tool has answered, as the model reads it. */
export const responseText = (said: string): string => `<tool_response>\n${said}\n</tool_response>`;
