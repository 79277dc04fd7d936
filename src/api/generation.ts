import { GREEDY, type Sampling } from "../ops/sample.ts";
import { count, number, type Read, type Reader, wrong } from "../options.ts";

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
  /** Ends the answer before this text. */
  stop?: string | readonly string[] | undefined;
}

export interface Generation {
  maxTokens: number;
  sampling: Sampling;
  stop: readonly string[];
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

/** What the options of generation may be. */
export const GENERATION = {
  maxTokens: count,
  temperature: number("a number from 0 to 100", (v) => v >= 0 && v <= 100),
  topP: number("a number above 0, up to 1", (v) => v > 0 && v <= 1),
  topK: number("an integer from 0 (off)", (v) => Number.isInteger(v) && v >= 0),
  minP: number("a number from 0 to 1", (v) => v >= 0 && v <= 1),
  seed: number("an integer from 0 to 2^53 - 1", (v) => Number.isSafeInteger(v) && v >= 0),
  repetitionPenalty: number("a number above 0, up to 100", (v) => v > 0 && v <= 100),
  stop: stopTexts,
};

const randomSeed = (): number => {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return (high % 2 ** 21) * 2 ** 32 + low;
};

/** Fills in the defaults. */
export function generation(options: Read<typeof GENERATION>): Generation {
  const {
    maxTokens = DEFAULT_TOKENS,
    temperature: asked = 0,
    topP = GREEDY.topP,
    topK = GREEDY.topK,
    minP = GREEDY.minP,
    stop = [],
  } = options;
  // Below this exp() of anything but the largest logits is 0: the same as greedy, and safe to divide by.
  const temperature = asked < 1e-4 ? 0 : asked;
  const { seed = temperature > 0 ? randomSeed() : 0, repetitionPenalty = 1 } = options;
  return { maxTokens, sampling: { temperature, topP, topK, minP, repetitionPenalty, seed }, stop };
}
