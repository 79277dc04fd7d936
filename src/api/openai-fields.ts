import { EngineError } from "../errors.ts";
import { count, flag, isRecord, number, oneOf, type Read, type Reader, type Shape, text, unknownKey, wrong } from "../options.ts";
import type { Format } from "../text/grammar/schema.ts";
import { GENERATION, type Generation, generation } from "./generation.ts";

/** A field that OpenAI has and this library does not. @throws EngineError bad-input, naming it */
export function unsupported(param: string, what = param, hint?: string): EngineError {
  return new EngineError("bad-input", `${what} is not supported by this server`, { param, hint });
}

/** A reader of a field that does nothing here: taken where it asks for nothing. @throws EngineError bad-input where it asks for something */
export const never =
  (isOff: (value: unknown) => boolean): Reader<undefined> =>
  (value, name) => {
    if (!isOff(value)) throw unsupported(name);
    return undefined;
  };

/** Reads an object of any fields. */
export const record: Reader<Record<string, unknown>> = (value, name) => {
  if (!isRecord(value)) throw wrong(name, value, "an object");
  return value;
};

/** A shape's fields, each called by where it stands. */
export function nested<S extends Shape>(value: unknown, name: string, shape: S) {
  if (!isRecord(value)) throw wrong(name, value, `an object with ${Object.keys(shape).join(", ")}`);
  return readFields(value, shape, `${name}.`);
}

/** As `readOptions`, of a body: unknown fields are refused as OpenAI's own server does it. @throws EngineError bad-input, with `param` */
export function readFields<S extends Shape>(body: Record<string, unknown>, shape: S, prefix = ""): Read<S> {
  const known = Object.keys(shape);
  for (const key of Object.keys(body)) {
    if (Object.hasOwn(shape, key)) continue;
    const { message, hint } = unknownKey("a request", key, known);
    const meant = /; did you mean .*$/.exec(message)?.[0] ?? "";
    throw new EngineError("bad-input", `Unrecognized request argument supplied: ${prefix}${key.slice(0, 100)}${meant}`, {
      hint,
      param: prefix + key.slice(0, 100),
    });
  }
  const read: Record<string, unknown> = {};
  for (const key of known) {
    const value = Object.hasOwn(body, key) ? body[key] : undefined;
    if (value !== undefined && value !== null) read[key] = shape[key]!(value, prefix + key);
  }
  return read as Read<S>;
}

/** Fields that chat completions and completions share. */
export const SAMPLING = {
  model: text,
  max_tokens: count,
  temperature: number("a number from 0 to 2", (v) => v >= 0 && v <= 2),
  top_p: number("a number from 0 to 1", (v) => v >= 0 && v <= 1),
  top_k: number("an integer from -1 (off)", (v) => Number.isInteger(v) && v >= -1),
  min_p: number("a number from 0 to 1", (v) => v >= 0 && v <= 1),
  repetition_penalty: GENERATION.repetitionPenalty,
  presence_penalty: GENERATION.presencePenalty,
  frequency_penalty: GENERATION.frequencyPenalty,
  seed: number("an integer of 64 bits", (v) => Number.isInteger(v) && Math.abs(v) <= 2 ** 63),
  stop: GENERATION.stop,
  n: number("an integer from 1 to 128", (v) => Number.isInteger(v) && v >= 1 && v <= 128),
  stream: flag,
  stream_options: (value: unknown, name: string) => nested(value, name, { include_usage: flag, include_obfuscation: flag }),
  user: text,
  logit_bias: GENERATION.logitBias,
};

/** What chat completions have besides. Fields without an effect here are only checked for their type. */
export const CHAT = {
  ...SAMPLING,
  max_completion_tokens: count,
  logprobs: flag,
  top_logprobs: number("an integer from 0 to 20", (v) => Number.isInteger(v) && v >= 0 && v <= 20),
  parallel_tool_calls: flag,
  metadata: record,
  store: flag,
  service_tier: oneOf("auto", "default", "flex", "scale", "priority"),
  safety_identifier: text,
  prompt_cache_key: text,
  prompt_cache_retention: text,
  modalities: never((value) => Array.isArray(value) && value.length === 1 && value[0] === "text"),
  audio: never(() => false),
  prediction: never(() => false),
  web_search_options: never(() => false),
  functions: never(() => false),
  function_call: never(() => false),
  reasoning_effort: never(() => false),
  verbosity: never(() => false),
};

/** How an answer is generated; the i-th of several has another seed than the first. @throws EngineError bad-input */
export function generationOf(read: Read<typeof SAMPLING>, maxTokens: number, schema?: Format): (index: number) => Generation {
  if (read.stream_options && !read.stream) {
    throw new EngineError("bad-input", "stream_options is only allowed when stream is true", {
      param: "stream_options",
      hint: "set stream, or leave it out",
    });
  }
  const { temperature = 1, top_p: topP = 1, top_k: topK = 0, min_p: minP, stop, seed } = read;
  const { repetition_penalty: repetitionPenalty, presence_penalty: presencePenalty, frequency_penalty: frequencyPenalty } = read;
  const penalties = { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias: read.logit_bias };
  const least = 2 ** -32; // of the probability: the most probable id alone
  const options = { maxTokens, temperature, topP: Math.max(topP, least), topK: Math.max(topK, 0), minP, ...penalties, stop, schema };
  const folded = seed === undefined ? undefined : seed % 2 ** 53;
  const first = generation({ ...options, seed: folded !== undefined && folded < 0 ? folded + 2 ** 53 : folded });
  const left = Number.MAX_SAFE_INTEGER - first.sampling.seed; // larger sums would be rounded
  const seedOf = (index: number) => (index <= left ? first.sampling.seed + index : index - left - 1);
  return (index) => ({ ...first, sampling: { ...first.sampling, seed: seedOf(index) } });
}
