import type { Gpu } from "../gpu/device.ts";
import { causalAttention, visionAttention } from "../ops/attention.ts";
import { type AttentionVariant, type DecodeVariant, triesOf, variantsOf } from "../ops/choose.ts";
import { activationOf, type BenchCase, storageOf } from "./bench-case.ts";
import { Noise, nmse } from "./bench-data.ts";
import { rounded } from "./encode.ts";

const SAMPLES = 24; // (query, head) pairs
const SHARPNESS = 3; // queries are this much larger than keys: a softmax that is neither flat nor a single one

/** One query against `keys` keys in float64: softmax(q · k / sqrt(D)) v. `k` and `v` give where a key's row begins. */
function attend(
  q: Float32Array,
  query: number,
  k: readonly [Float32Array, (key: number) => number],
  v: readonly [Float32Array, (key: number) => number],
  keys: number,
  headDim: number,
): number[] {
  const scores = Array.from({ length: keys }, (_, key) => {
    const at = k[1](key);
    let sum = 0;
    for (let i = 0; i < headDim; i++) sum += q[query + i]! * k[0][at + i]!;
    return sum / Math.sqrt(headDim);
  });
  const rowMax = scores.reduce((a, b) => Math.max(a, b));
  const weights = scores.map((score) => Math.exp(score - rowMax));
  const total = weights.reduce((a, b) => a + b);
  return Array.from({ length: headDim }, (_, i) => {
    let sum = 0;
    for (let key = 0; key < keys; key++) sum += weights[key]! * v[0][v[1](key) + i]!;
    return sum / total;
  });
}

/** Queries to check: the first, the last, and some others. */
const sampleRows = (noise: Noise, tokens: number, heads: number) =>
  Array.from({ length: SAMPLES }, (_, i) => ({ row: i === 0 ? 0 : i === 1 ? tokens - 1 : noise.below(tokens), head: noise.below(heads) }));

function visionCase(tokens: number, heads: number, headDim: number): BenchCase {
  const width = heads * headDim;
  return {
    op: "attention",
    ...(tokens === 1025 ? { goals: [{ over: "onnxruntime", least: 2 }] } : {}),
    params: `tokens=${tokens},heads=${heads},dim=${headDim}`,
    flops: 4 * tokens * tokens * width,
    bytes: 4 * 4 * tokens * width,
    ceiling: "fmaGflops",
    accuracy: "f32",
    variants: (gpu) => variantsOf(gpu, "attention", { width: headDim }),
    chosen: (gpu) => triesOf(gpu, "attention", { width: headDim })[0]!,
    prepare(gpu) {
      const noise = new Noise(tokens + width);
      const qkv = noise.values(tokens * 3 * width);
      for (let row = 0; row < tokens; row++) for (let i = 0; i < width; i++) qkv[row * 3 * width + i]! *= SHARPNESS;
      const input = activationOf(gpu, "qkv", qkv, 3 * width, tokens);
      const samples = sampleRows(noise, tokens, heads);
      return {
        step: { units: 1, start: 0 },
        spec: { op: "attention", tokens, heads, headDim, qkv },
        record: (p, variant) => ({
          buffer: visionAttention(p, input, heads, tokens, { variant: variant as AttentionVariant | undefined }).buffer,
          bytes: tokens * width * 4,
        }),
        nmse(output) {
          const y = new Float32Array(output);
          return nmse(
            samples.flatMap(({ row, head }) => {
              const at = (part: number) => (key: number) => key * 3 * width + part * width + head * headDim;
              const expected = attend(qkv, at(0)(row), [qkv, at(1)], [qkv, at(2)], tokens, headDim);
              return expected.map((value, i) => [y[row * width + head * headDim + i]!, value] as const);
            }),
          );
        },
      };
    },
  };
}

/** The last `tokens` positions of `context`, heads in groups that share keys and values. */
function causalCase(tokens: number, context: number, heads: number, kvHeads: number, headDim: number, full = false): BenchCase {
  const start = context - tokens;
  const pairs = tokens * start + (tokens * (tokens + 1)) / 2; // of a query and a key it sees
  return {
    op: tokens === 1 ? "attention_decode" : "attention",
    ...(tokens === 1 ? {} : { goals: [{ over: "onnxruntime", least: 2 }, { ofCeiling: 0.4 }] }),
    full,
    params: `${tokens === 1 ? "" : `causal,tokens=${tokens},`}context=${context},heads=${heads},kv_heads=${kvHeads},dim=${headDim},kv=f16`,
    flops: 4 * pairs * heads * headDim,
    bytes: 2 * headDim * (4 * tokens * heads + 2 * context * kvHeads), // q and out are f32, keys and values f16
    ceiling: tokens === 1 ? "streamGBps" : "fmaGflops",
    accuracy: "f32",
    variants: (gpu) => variantsOf(gpu, tokens === 1 ? "decode" : "attention", { width: headDim }),
    chosen: (gpu) => triesOf(gpu, tokens === 1 ? "decode" : "attention", { width: headDim })[0]!,
    prepare(gpu: Gpu) {
      const noise = new Noise(context + heads);
      const width = heads * headDim;
      const q = noise.values(tokens * width, SHARPNESS);
      const { words: keyWords, values: keys } = rounded(noise.values(kvHeads * context * headDim), "f16");
      const { words: valueWords, values } = rounded(noise.values(kvHeads * context * headDim), "f16");
      const input = activationOf(gpu, "q", q, width, 1);
      const cache = {
        keys: storageOf(gpu, "keys", keyWords),
        values: storageOf(gpu, "values", valueWords),
        dtype: "f16" as const,
        rows: 1,
        kvHeads,
        headDim,
        context,
        row: tokens === 1 ? undefined : 0,
      };
      const samples = sampleRows(noise, tokens, heads);
      return {
        step: { units: tokens, start },
        spec: { op: "causal", tokens, context, heads, kvHeads, headDim, q, keys, values },
        record: (p, variant) => ({
          buffer: causalAttention(
            p,
            input,
            cache,
            heads,
            tokens === 1 ? { decode: variant as DecodeVariant | undefined } : { variant: variant as AttentionVariant | undefined },
          ).buffer,
          bytes: tokens * width * 4,
        }),
        nmse(output) {
          const y = new Float32Array(output);
          return nmse(
            samples.flatMap(({ row, head }) => {
              const kvHead = Math.floor(head / (heads / kvHeads));
              const at = (key: number) => (kvHead * context + key) * headDim;
              const query = row * width + head * headDim;
              const expected = attend(q, query, [keys, at], [values, at], start + row + 1, headDim);
              return expected.map((value, i) => [y[query + i]!, value] as const);
            }),
          );
        },
      };
    },
  };
}

export const attentionCases = (): BenchCase[] => [
  visionCase(257, 16, 64),
  visionCase(1025, 16, 64),
  causalCase(512, 512, 14, 2, 64),
  causalCase(512, 512, 16, 2, 128),
  causalCase(512, 2048, 16, 2, 128),
  causalCase(3428, 3428, 16, 2, 128, true), // the prompt of 13 tiles on the 4B
  ...[128, 1024, 4096].map((context) => causalCase(1, context, 16, 2, 128)),
];
