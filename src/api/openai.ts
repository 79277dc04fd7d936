import { EngineError } from "../errors.ts";
import { any, described, flag, isRecord, oneOf, type Reader, reading, readOptions, text, wrong } from "../options.ts";
import type { Format } from "../text/grammar/schema.ts";
import { TEMPLATES } from "../text/template.ts";
import { leaving } from "./aborting.ts";
import { checkBiases, prepareAsk } from "./answer.ts";
import type { Ask } from "./asking.ts";
import { plainSchema } from "./format.ts";
import type { Generation } from "./generation.ts";
import { Answers, type News, type Observe } from "./openai-answers.ts";
import { CHAT, generationOf, nested, readFields } from "./openai-fields.ts";
import { dialogue } from "./openai-messages.ts";
import { COMPLETION } from "./openai-options.ts";
import { readTools, type Tools } from "./openai-tools.ts";
import type { ChatCompletion, ChatCompletionChunk, ChatDelta, ChatToolCall, CompletionOptions, TokenLogprob } from "./openai-types.ts";
import type { Parts } from "./parts.ts";

const MOST_IMAGES = 64;

/** A request, read and checked. */
export interface CompletionRequest {
  ask: Omit<Ask, "generation">;
  /** How the i-th answer is generated, where the context has room for `room` tokens. */
  generation(room: number): (index: number) => Generation;
  n: number;
  model: string;
  stream: boolean;
  includeUsage: boolean;
  logprobs: number | undefined;
  /** What stands behind the system message, where there are tools. */
  tools: string | undefined;
}

const DEEPEST = 256; // of a request: what is written and compared by functions that call themselves has an end

/** The body of a request as an object. @throws EngineError bad-input */
export function bodyOf(value: unknown): Record<string, unknown> {
  if (!isRecord(value))
    throw new EngineError("bad-input", `the request is ${described(value)}, needs an object { messages, … }`, {
      hint: 'give { messages: [{ role: "user", content: "What is it?" }] }',
    });
  const isObject = (held: unknown): held is object => typeof held === "object" && held !== null && !ArrayBuffer.isView(held);
  reading("the request", () => {
    let level: object[] = [value];
    for (let depth = 0; level.length > 0; depth++) {
      if (depth > DEEPEST)
        throw new EngineError("bad-input", `the request is nested more than ${DEEPEST} times`, { hint: "name schemas in $defs" });
      level = [...new Set(level.flatMap((each) => Object.values(each).filter(isObject)))];
    }
  });
  return value;
}

type Json = Extract<Format, { kind: "json" }>;

/** What `response_format` asks for; undefined: any text. */
const responseFormat: Reader<Json | undefined> = (value, name) => {
  if (!isRecord(value)) throw wrong(name, value, "an object { type }");
  const type = oneOf("text", "json_object", "json_schema")(value.type, `${name}.type`);
  const { json_schema: given } = nested(value, name, { type: any, ...(type === "json_schema" ? { json_schema: any } : {}) }) as {
    json_schema?: unknown;
  };
  if (type === "text") return undefined;
  if (type === "json_object") return { kind: "json", schema: { type: "object" }, name };
  const at = `${name}.json_schema`;
  const read = nested(given, at, { name: text, description: text, schema: any, strict: flag });
  if (!/^[\w-]{1,64}$/.test(read.name ?? "")) throw wrong(`${at}.name`, read.name, "a name of 1 to 64 letters, digits, _ and -");
  return {
    kind: "json",
    schema: read.schema === undefined ? { type: "object" } : plainSchema(read.schema, `${at}.schema`),
    name: `${at}.schema`,
  };
};

/** What an answer has to be: a call that is forced, JSON, or, where tools may be called, either; any text with calls in it, where these are strict. */
function formatOf(json: Json | undefined, tools: Tools | undefined, several: boolean): Format | undefined {
  if (!tools || (!json && tools.forced === false && !tools.strict)) return json;
  const { functions, forced } = tools;
  const instead = forced === false ? json : undefined;
  return {
    kind: "calls",
    functions,
    several: several && typeof forced !== "string",
    instead,
    within: forced === false && !json,
    name: "tools",
  };
}

/** Reads a chat completion's request. @throws EngineError bad-input, with `param` */
export function acceptCompletion(request: unknown, { maxPixels, maxImages = MOST_IMAGES }: CompletionOptions = {}): CompletionRequest {
  const shape = { ...CHAT, messages: any, tools: any, tool_choice: any, response_format: responseFormat };
  const read = readFields(bodyOf(request), shape);
  const { system, turns, question } = dialogue(read.messages, maxImages);
  const tools = readTools(read.tools, read.tool_choice);
  const format = formatOf(read.response_format, tools, read.parallel_tool_calls ?? true);
  if (read.top_logprobs !== undefined && !read.logprobs) {
    throw new EngineError("bad-input", "top_logprobs needs logprobs to be true", {
      param: "top_logprobs",
      hint: "set logprobs, or leave it out",
    });
  }
  const generation = (room: number) => generationOf(read, Math.min(read.max_completion_tokens ?? read.max_tokens ?? room, room), format);
  generation(1); // whatever is wrong is said now
  return {
    ask: {
      ...{ system, systemSaid: false, turns, question, images: [], frames: [] },
      ...{ settings: { maxPixels }, specialTokens: "text", literalMarkers: true },
    },
    generation,
    n: read.n ?? 1,
    model: read.model ?? "internvl",
    stream: read.stream ?? false,
    includeUsage: read.stream_options?.include_usage ?? false,
    logprobs: read.logprobs ? (read.top_logprobs ?? 0) : undefined,
    tools: tools?.text,
  };
}

/** The prompt of a request. @throws EngineError bad-image, context-overflow, aborted */
export function promptOf(parts: Parts, { ask, tools, generation }: CompletionRequest, signal = new AbortController().signal) {
  const system =
    tools === undefined ? ask.system : (ask.system ?? parts.config.systemMessage ?? TEMPLATES[parts.config.template].system ?? "") + tools;
  return prepareAsk(parts, { ...ask, system, generation: generation(1)(0) }, signal);
}

/** An id in OpenAI's form. */
export const newId = (prefix: string): string => `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`;

const logprobsOf = (tokens: TokenLogprob[], wanted: boolean) => (wanted ? { content: tokens, refusal: null } : null);

/**
 * Answers a request of OpenAI's chat completions: whole, or as chunks, which is decided by its `stream`. The promise of chunks is kept when the
 * request was let in; leaving the chunks early frees its slot.
 *
 * @throws EngineError bad-input (with `param`), bad-image, context-overflow, aborted, disposed, device-lost
 */
export async function complete(
  parts: Parts,
  request: unknown,
  options?: unknown,
  observe?: Observe,
): Promise<ChatCompletion | AsyncGenerator<ChatCompletionChunk, void, void>> {
  const { signal: given, ...limits } = readOptions("complete", options, COMPLETION);
  const accepted = acceptCompletion(request, limits);
  const { n, model, stream, logprobs, tools } = accepted;
  const began = performance.now();
  const created = Math.floor(Date.now() / 1000);
  const generation = accepted.generation(parts.model.maxContext);
  checkBiases(parts, generation(0), "logit_bias");
  const prompt = await promptOf(parts, accepted, given);
  const asking = Array.from({ length: n }, (_, i) => ({ prompt, generation: generation(i) }));
  const answers = await Answers.start(parts, asking, given, {
    logprobs,
    tools: tools === undefined ? undefined : stream ? "streamed" : "whole",
    prepareMs: performance.now() - began,
    observe,
  });
  const head = { id: newId("chatcmpl"), created, model };
  if (stream) return leaving(chunks(answers, head, accepted), () => answers.abort());
  const whole = await answers.whole();
  const { usage, timings } = answers.cost(1);
  const choices = whole.map(({ index, text, tokens, calls, finish }) => ({
    index,
    message: {
      role: "assistant" as const,
      content: calls.length > 0 ? text.trim() || null : text,
      refusal: null,
      ...(calls.length > 0 ? { tool_calls: calls.map(({ index: _, ...call }) => call as ChatToolCall) } : {}),
    },
    logprobs: logprobsOf(tokens, logprobs !== undefined),
    finish_reason: finish!,
  }));
  return { ...head, object: "chat.completion", choices, usage, timings };
}

async function* chunks(
  answers: Answers,
  head: { id: string; created: number; model: string },
  { n, includeUsage, logprobs }: CompletionRequest,
): AsyncGenerator<ChatCompletionChunk, void, void> {
  const chunk = (index: number, delta: ChatDelta, finish?: News["finish"], tokens: TokenLogprob[] = []): ChatCompletionChunk => ({
    ...{ ...head, object: "chat.completion.chunk" },
    choices: [{ index, delta, logprobs: logprobsOf(tokens, tokens.length > 0 && logprobs !== undefined), finish_reason: finish ?? null }],
    ...(includeUsage ? { usage: null } : {}),
  });
  for (let i = 0; i < n; i++) yield chunk(i, { role: "assistant", content: "" });
  let left = n;
  for await (const { index, text, tokens, calls, finish } of answers.news()) {
    if (text !== "" || tokens.length > 0) yield chunk(index, { content: text }, undefined, tokens);
    if (calls.length > 0) yield chunk(index, { tool_calls: calls });
    if (finish === undefined) continue;
    const last = --left === 0 && !includeUsage;
    yield { ...chunk(index, {}, finish), ...(last ? { timings: answers.cost(1).timings } : {}) };
  }
  if (includeUsage) yield { ...head, object: "chat.completion.chunk", choices: [], ...answers.cost(1) };
}
