import type { Sampling } from "../ops/sample.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Logprob, TokenLogprob } from "./openai-types.ts";

/** The most probable ids and their logits, the largest first; ties to the smaller id. */
function largest(logits: Float32Array, count: number): { id: number; logit: number }[] {
  const best: { id: number; logit: number }[] = [];
  if (count === 0) return best;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (best.length === count && logit <= best[count - 1]!.logit) continue;
    let at = best.length;
    while (at > 0 && best[at - 1]!.logit < logit) at--;
    best.splice(at, 0, { id, logit });
    if (best.length > count) best.pop();
  }
  return best;
}

/**
 * The logarithm of a new token's probability and those of the `top` most probable ones, by the model's own distribution: log softmax of the
 * GPU's logits, in float64. The sampling kernels have put the repetition penalty into them, for the ids `before`: it is taken out again.
 */
export function logprobOf(
  tokenizer: Tokenizer,
  logits: Float32Array,
  id: number,
  top: number,
  before: readonly number[],
  { repetitionPenalty: penalty }: Sampling,
): TokenLogprob {
  if (penalty !== 1)
    for (const seen of new Set(before)) logits[seen] = logits[seen]! > 0 ? logits[seen]! * penalty : logits[seen]! / penalty;
  let highest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) highest = Math.max(highest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - highest);
  const norm = highest + Math.log(sum);
  const of = (token: number, logit: number): Logprob => {
    const piece = tokenizer.piece(token);
    return {
      token: tokenizer.decode([token]),
      logprob: logit - norm,
      bytes: [...(typeof piece === "string" ? new TextEncoder().encode(piece) : piece)],
    };
  };
  return { ...of(id, logits[id]!), top_logprobs: largest(logits, top).map(({ id: each, logit }) => of(each, logit)) };
}
