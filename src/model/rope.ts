/** How positions become angles: the base, and what was done to reach longer contexts (transformers `modeling_rope_utils.py`). */
export type Rope =
  | { kind: "plain"; theta: number }
  | { kind: "linear"; theta: number; factor: number }
  | { kind: "llama3"; theta: number; factor: number; lowFactor: number; highFactor: number; original: number }
  | {
      kind: "yarn";
      theta: number;
      factor: number;
      original: number;
      betaFast: number;
      betaSlow: number;
      truncate: boolean;
      attentionFactor: number;
    };

/** Slow waves are stretched by `factor`, fast ones stay, those between are a mix of both (Llama 3.1). */
function llama3(inverse: number, { factor, lowFactor, highFactor, original }: Rope & { kind: "llama3" }): number {
  const waves = (original * inverse) / (2 * Math.PI); // in the original context
  if (waves < lowFactor) return inverse / factor;
  if (waves > highFactor) return inverse;
  const smooth = (waves - lowFactor) / (highFactor - lowFactor);
  return ((1 - smooth) * inverse) / factor + smooth * inverse;
}

/** The same idea by dimension: up to `low` they stay, from `high` on they are stretched, linearly mixed between (arXiv 2309.00071). */
function yarnStretch(headDim: number, { theta, original, betaFast, betaSlow, truncate }: Rope & { kind: "yarn" }): (i: number) => number {
  const dimension = (waves: number) => (headDim * Math.log(original / (waves * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [dimension(betaFast), dimension(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  const width = high === low ? 0.001 : high - low;
  return (i) => Math.min(1, Math.max(0, (i - low) / width));
}

/**
 * The inverse frequencies of a rope, f32 [headDim / 2], made of the plain ones of its base, and what cosines and sines are multiplied by.
 * Pages with a plain rope, as InternVL 2.5 has, do not download this.
 */
export function ropeFrequencies(plain: Float32Array<ArrayBuffer>, rope: Rope): { inverse: Float32Array<ArrayBuffer>; scale: number } {
  switch (rope.kind) {
    case "plain":
      return { inverse: plain, scale: 1 };
    case "linear":
      return { inverse: plain.map((each) => each / rope.factor), scale: 1 };
    case "llama3":
      return { inverse: plain.map((each) => llama3(each, rope)), scale: 1 };
    case "yarn": {
      const stretch = yarnStretch(2 * plain.length, rope);
      const mixed = plain.map((each, i) => (each / rope.factor) * stretch(i) + each * (1 - stretch(i)));
      return { inverse: mixed, scale: rope.attentionFactor };
    }
    default:
      return rope satisfies never;
  }
}
