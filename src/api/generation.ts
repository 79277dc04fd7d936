import { EngineError } from "../errors.ts";
import { GREEDY, type Sampling } from "../ops/sample.ts";

/** How an answer is generated. */
export interface GenerationOptions {
  /** Most new tokens; 1024 by default. */
  maxTokens?: number | undefined;
  /** 0, the default: greedy, and the next four do not matter. */
  temperature?: number | undefined;
  /** Draws among the smallest set of most probable ids that holds this share of the probability; 1, the default: all. */
  topP?: number | undefined;
  /** Draws among so many most probable ids; 0, the default: all. */
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

export function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) throw new EngineError("bad-input", `${name} is ${value}, needs a positive integer`);
  return value;
}

function within(name: string, value: number | undefined, otherwise: number, needs: string, fits: (value: number) => boolean): number {
  if (value === undefined) return otherwise;
  if (typeof value !== "number" || !Number.isFinite(value) || !fits(value)) {
    const has = typeof value === "number" ? value : typeof value === "string" ? JSON.stringify(value) : typeof value;
    throw new EngineError("bad-input", `${name} is ${has}, needs ${needs}`);
  }
  return value;
}

function stopStrings(stop: string | readonly string[] | undefined): readonly string[] {
  if (stop === undefined) return [];
  const list = typeof stop === "string" ? [stop] : stop;
  if (!Array.isArray(list) || list.some((text) => typeof text !== "string" || text === ""))
    throw new EngineError("bad-input", "stop must be a text or a list of texts, none of them empty");
  if (list.length > MAX_STOPS) throw new EngineError("bad-input", `stop has ${list.length} texts, at most ${MAX_STOPS} are allowed`);
  return list;
}

const randomSeed = (): number => {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return (high % 2 ** 21) * 2 ** 32 + low;
};

/** Checks generation options and fills in the defaults. @throws EngineError bad-input */
export function generation(options: GenerationOptions): Generation {
  const temperature = within("temperature", options.temperature, 0, "a number from 0 to 100", (v) => v >= 0 && v <= 100);
  const sampling: Sampling = {
    // Below this exp() of anything but the largest logits is 0: the same as greedy, and safe to divide by.
    temperature: temperature < 1e-4 ? 0 : temperature,
    topP: within("topP", options.topP, GREEDY.topP, "a number above 0, up to 1", (v) => v > 0 && v <= 1),
    topK: within("topK", options.topK, GREEDY.topK, "an integer from 0 (off)", (v) => Number.isInteger(v) && v >= 0),
    minP: within("minP", options.minP, GREEDY.minP, "a number from 0 to 1", (v) => v >= 0 && v <= 1),
    repetitionPenalty: within("repetitionPenalty", options.repetitionPenalty, 1, "a number above 0, up to 100", (v) => v > 0 && v <= 100),
    seed: within("seed", options.seed, -1, "an integer from 0 to 2^53 - 1", (v) => Number.isSafeInteger(v) && v >= 0),
  };
  if (sampling.seed < 0) sampling.seed = sampling.temperature > 0 ? randomSeed() : 0;
  return { maxTokens: positive("maxTokens", options.maxTokens ?? DEFAULT_TOKENS), sampling, stop: stopStrings(options.stop) };
}
