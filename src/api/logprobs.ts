import type { Told } from "../generate/engine.ts";
import type { Sampling } from "../ops/sample-state.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Logprob, TokenLogprob } from "./openai-types.ts";

/** The logit that an id had before penalties and biases: `times` is how often it had come before. */
function asItCame(logit: number, id: number, times: number, sampling: Sampling): number {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = sampling;
  const unbiased = logit - (logitBias.find(([each]) => each === id)?.[1] ?? 0);
  if (times === 0) return unbiased;
  const repeated = unbiased + presencePenalty + times * frequencyPenalty;
  return repeated > 0 ? repeated * repetitionPenalty : repeated / repetitionPenalty;
}

/**
 * The logarithm of a new token's probability and those of the `top` most probable ones, by the model's own distribution: the GPU's logits
 * before penalties, biases and masks.
 */
export function logprobOf(
  tokenizer: Tokenizer,
  told: Told,
  id: number,
  top: number,
  before: readonly number[],
  sampling: Sampling,
): TokenLogprob {
  const of = (token: number, logit: number): Logprob => {
    const piece = tokenizer.piece(token);
    return {
      token: tokenizer.decode([token]),
      logprob: Math.min(0, logit - told.norm),
      bytes: [...(typeof piece === "string" ? new TextEncoder().encode(piece) : piece)],
    };
  };
  const times = before.filter((each) => each === id).length;
  const logit = told.top.find((each) => each.id === id)?.logit ?? asItCame(told.chosen, id, times, sampling);
  return { ...of(id, logit), top_logprobs: told.top.slice(0, top).map((each) => of(each.id, each.logit)) };
}
