import { GREEDY, MOST_BIASES, type Sampling } from "../ops/sample-state.ts";
import { count, isRecord, number, type Read, type Reader, wrong } from "../options.ts";
import type { Format } from "../text/grammar/schema.ts";
import { type Schema, schema } from "./format.ts";

/** How an answer is generated. */
export interface GenerationOptions {
  /** Most new tokens; 1024 by default. */
  maxTokens?: number | undefined;
  /** 0, the default: greedy, and the next four do not matter. */
  temperature?: number | undefined;
  /** Draws among the smallest set of most probable ids that holds this share of the probability; 1, the default: all. */
  topP?: number | undefined;
  /** Draws among this many of the most probable ids; 0, the default: all. */
  topK?: number | undefined;
  /** Draws among ids at least this times as probable as the most probable one; 0, the default: all. */
  minP?: number | undefined;
  /** For the random numbers, 0 … 2^53 - 1; another one every time by default. */
  seed?: number | undefined;
  /** Makes ids that the answer already has less probable; 1, the default: off. */
  repetitionPenalty?: number | undefined;
  /** Taken from the logits of tokens that the answer already has, -2 … 2; 0, the default: off. */
  presencePenalty?: number | undefined;
  /** Taken from the logit of a token as often as the answer has it, -2 … 2; 0, the default: off. */
  frequencyPenalty?: number | undefined;
  /** Added to the logits of tokens, by their ids: -100 … 100 each, for at most 1024 of them. */
  logitBias?: Readonly<Record<number, number>> | undefined;
  /** Ends the answer before this text. */
  stop?: string | readonly string[] | undefined;
  /**
   * What the answer has to be, enforced token by token: only `maxTokens` can cut it short (`finishReason` is `length` then). Of a schema
   * what cannot be enforced is refused by name.
   */
  schema?: Schema | undefined;
}

/** How an answer is generated: the options that were read, with their defaults. */
export interface Generation {
  maxTokens: number;
  sampling: Sampling;
  stop: readonly string[];
  format: Format | undefined;
}

const DEFAULT_TOKENS = 1024;
const MAX_STOPS = 64;

const stopTexts: Reader<readonly string[]> = (value, name) => {
  const list: unknown = typeof value === "string" ? [value] : value;
  const needs = "a text, or a list of texts, none of them empty";
  if (!Array.isArray(list)) throw wrong(name, value, needs);
  for (const [i, each] of list.entries()) {
    if (typeof each !== "string" || each === "") throw wrong(list === value ? `${name}[${i}]` : name, each, needs);
  }
  if (list.length > MAX_STOPS) throw wrong(name, value, `at most ${MAX_STOPS} texts`);
  return list;
};

const penalty = number("a number from -2 to 2", (v) => v >= -2 && v <= 2);

/** Biases by id. */
const biases: Reader<Sampling["logitBias"]> = (value, name) => {
  const needs = `an object of token ids and numbers from -100 to 100, at most ${MOST_BIASES}`;
  if (!isRecord(value)) throw wrong(name, value, needs);
  const pairs = Object.entries(value);
  if (pairs.length > MOST_BIASES) throw wrong(name, value, needs);
  return pairs.map(([id, bias]) => {
    if (!/^(0|[1-9]\d{0,7})$/.test(id)) throw wrong(name, id, "token ids as its keys");
    if (typeof bias !== "number" || !(bias >= -100 && bias <= 100)) throw wrong(`${name}[${id}]`, bias, "a number from -100 to 100");
    return [Number(id), bias] as const;
  });
};

/** What the options of generation may be. */
export const GENERATION = {
  maxTokens: count,
  temperature: number("a number from 0 to 100", (v) => v >= 0 && v <= 100),
  topP: number("a number above 0, up to 1", (v) => v > 0 && v <= 1),
  topK: number("an integer from 0 (off)", (v) => Number.isSafeInteger(v) && v >= 0),
  minP: number("a number from 0 to 1", (v) => v >= 0 && v <= 1),
  seed: number("an integer from 0 to 2^53 - 1", (v) => Number.isSafeInteger(v) && v >= 0),
  repetitionPenalty: number("a number above 0, up to 100", (v) => v > 0 && v <= 100),
  presencePenalty: penalty,
  frequencyPenalty: penalty,
  logitBias: biases,
  stop: stopTexts,
  schema,
};

const randomSeed = (): number => {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return (high % 2 ** 21) * 2 ** 32 + low;
};

/** Fills in the defaults. */
export function generation(options: Read<typeof GENERATION>): Generation {
  const { maxTokens = DEFAULT_TOKENS, temperature: asked = 0, stop = [], schema: format } = options;
  // Below this exp() of anything but the largest logits is 0: the same as greedy, and safe to divide by.
  const temperature = asked < 1e-4 ? 0 : asked;
  const { seed = temperature > 0 ? randomSeed() : 0 } = options;
  const said = Object.entries(GREEDY).map(([key, usual]) => [key, options[key as keyof Sampling] ?? usual]);
  return { maxTokens, sampling: { ...(Object.fromEntries(said) as Sampling), temperature, seed }, stop, format };
}
