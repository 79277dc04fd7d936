/** Float64 twin of the sampling kernels (src/ops/sample.ts): the definition, without a word about how the GPU finds it. */

interface Choice {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  seed: number;
}

/** What changes logits before anything is chosen. */
interface Changes {
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  logitBias: readonly (readonly [id: number, bias: number])[];
}

/** Philox4x32-10: counter and key to four words. */
export function philox(counter: readonly [number, number, number, number], key: readonly [number, number]): number[] {
  let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const low = (x: bigint) => x & 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const x = 0xd2511f53n * a;
    const y = 0xcd9e8d57n * c;
    [a, b, c, d] = [(y >> 32n) ^ b ^ k0, low(y), (x >> 32n) ^ d ^ k1, low(x)];
    k0 = low(k0 + 0x9e3779b9n);
    k1 = low(k1 + 0xbb67ae85n);
  }
  return [a, b, c, d].map(Number);
}

/** The lowest f32: what an id has that a mask forbids. */
export const FORBIDDEN = -3.4028234663852886e38;

/**
 * Logits with what a request changes in them. Of ids that were drawn c times, l > 0 ? l / repetition : l · repetition, less presence and
 * c · frequency; then the biases; and what the mask does not allow is as low as can be.
 */
export function changed(
  logits: ArrayLike<number>,
  counts: ReadonlyMap<number, number>,
  { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias }: Changes,
  allowed?: ReadonlySet<number>,
): Float64Array {
  const biases = new Map(logitBias);
  return Float64Array.from(logits, (l, id) => {
    if (allowed && !allowed.has(id)) return FORBIDDEN;
    const times = counts.get(id) ?? 0;
    const repeated = l > 0 ? l / repetitionPenalty : l * repetitionPenalty;
    return (times > 0 ? repeated - presencePenalty - times * frequencyPenalty : l) + (biases.get(id) ?? 0);
  });
}

/** ln Σ exp(l), and the ids of the largest logits in order, ties to the smaller id. */
export function probable(logits: ArrayLike<number>, most: number): { norm: number; ids: number[] } {
  const ids = Array.from({ length: logits.length }, (_, id) => id)
    .sort((i, j) => logits[j]! - logits[i]! || i - j)
    .slice(0, most);
  const top = logits[ids[0]!]!;
  return { norm: top + Math.log(Array.from(logits).reduce((sum, l) => sum + Math.exp(l - top), 0)), ids };
}

/** Which ids may be drawn: temperature, then top-k, top-p, min-p, each among what the one before left. */
export function keptIds(logits: ArrayLike<number>, { temperature, topK, topP, minP }: Omit<Choice, "seed">): Set<number> {
  const scores = Float64Array.from(logits, (l) => l / temperature);
  const open = Array.from(scores.keys()).filter((id) => logits[id]! > FORBIDDEN);
  let kept = open.sort((i, j) => scores[j]! - scores[i]! || i - j);
  const top = scores[kept[0]!]!;
  if (topK > 0 && topK < kept.length) {
    const least = scores[kept[topK - 1]!]!;
    kept = kept.filter((id) => scores[id]! >= least);
  }
  if (topP < 1) {
    const total = kept.reduce((sum, id) => sum + Math.exp(scores[id]! - top), 0);
    let above = 0; // the mass of ids with strictly larger scores
    let sum = 0;
    kept = kept.filter((id, i) => {
      if (i > 0 && scores[id]! < scores[kept[i - 1]!]!) above = sum;
      sum += Math.exp(scores[id]! - top);
      return i === 0 || above < topP * total;
    });
  }
  return new Set(kept.filter((id) => minP === 0 || scores[id]! - top >= Math.log(minP)));
}

/** softmax(logits / temperature) over the ids that are kept. */
export function probabilities(logits: ArrayLike<number>, choice: Omit<Choice, "seed">): Float64Array {
  const kept = keptIds(logits, choice);
  const top = [...kept].reduce((most, id) => Math.max(most, logits[id]!), Number.NEGATIVE_INFINITY);
  const masses = Float64Array.from(logits, (l, id) => (kept.has(id) ? Math.exp((l - top) / choice.temperature) : 0));
  const total = masses.reduce((a, b) => a + b, 0);
  return masses.map((mass) => mass / total);
}

/**
 * The id drawn, by Gumbel's trick on Philox words: counter (id div 4, tokens drawn so far), key the seed; and by how much the winner led
 * (rounding may decide where that is tiny).
 */
export function draw(logits: ArrayLike<number>, choice: Choice, drawn: number): { id: number; margin: number } {
  const key = [choice.seed % 2 ** 32, Math.floor(choice.seed / 2 ** 32)] as const;
  let best = { id: -1, value: Number.NEGATIVE_INFINITY };
  let second = Number.NEGATIVE_INFINITY;
  for (const id of [...keptIds(logits, choice)].sort((a, b) => a - b)) {
    const u = Math.min((philox([id >> 2, drawn, 0, 0], key)[id % 4]! + 0.5) * 2 ** -32, 1 - 2 ** -24);
    const value = logits[id]! / choice.temperature - Math.log(-Math.log1p(-u));
    if (value > best.value) {
      second = best.value;
      best = { id, value };
    } else second = Math.max(second, value);
  }
  return { id: best.id, margin: best.value - second };
}
