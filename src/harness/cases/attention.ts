import type { Gpu } from "../../gpu/device.ts";
import { type AttentionVariant, attentionVariants, causalAttention, visionAttention } from "../../ops/attention.ts";
import { attentionDecodeVariants, type DecodeVariant } from "../../ops/attention-decode.ts";
import type { KvCache } from "../../ops/kv-cache.ts";
import * as reference from "../../reference/attention.ts";
import { defineCase, type Expectation, type KernelCase, type Operands } from "../case.ts";
import { POISON } from "../guard.ts";
import type { Random } from "../random.ts";
import { indicesOf, pickFrom } from "../sample.ts";

interface Causal {
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Queries; one of them is a decode step. */
  tokens: number;
  start: number;
  /** Positions that the cache has room for beyond the last key. */
  room?: number;
  spare?: number;
  outliers?: boolean;
  /** Of a decode step. */
  variant?: DecodeVariant;
  /** Of a prefill. */
  prefill?: AttentionVariant;
  size?: "full" | undefined;
}

/** A cache [kvHeads, context, headDim] filled up to `count` positions; beyond them lies poison, which attention must not see. */
function fillCache(random: Random, kvHeads: number, context: number, headDim: number, count: number): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(kvHeads * context * headDim).fill(POISON);
  const values = new Float32Array(words.buffer);
  for (let head = 0; head < kvHeads; head++) values.set(random.values(count * headDim), head * context * headDim);
  return values;
}

/**
 * What real checkpoints do: a key channel far from zero in all keys alike (Qwen2.5's key bias), and large value channels. Keys whose
 * products with a query differ by thousands would leave nothing to compare: softmax is then a step function of the last bits.
 */
function addOutliers(keys: Float32Array, values: Float32Array, headDim: number, random: Random): void {
  const column = random.integer(0, headDim - 1);
  for (let i = column; i < keys.length; i += headDim) keys[i]! += 100;
  for (let i = column; i < values.length; i += headDim) values[i]! *= 1000;
}

/** The picked (row, head) pairs of an output [rows, heads · headDim], and their references. */
function pickedHeads(
  rows: number,
  heads: number,
  headDim: number,
  keys: number,
  random: Random,
  each: (row: number, head: number) => Float64Array,
) {
  const pairs = pickFrom(rows * heads, Math.max(12, Math.floor(1e6 / (2 * keys * headDim))), random);
  return {
    indices: indicesOf({ rows: pairs, columns: Array.from({ length: headDim }, (_, i) => i) }, headDim),
    expected() {
      const out = new Float64Array(pairs.length * headDim);
      for (const [i, pair] of pairs.entries()) out.set(each(Math.floor(pair / heads), pair % heads), i * headDim);
      return out;
    },
  };
}

const lacks = (gpu: Gpu, variant: AttentionVariant | undefined): boolean =>
  variant !== undefined && !attentionVariants(gpu).includes(variant);

function causalCase(spec: Causal): KernelCase {
  const { heads, kvHeads, headDim, tokens, start, room = 0, spare = 0, outliers, variant, prefill, size } = spec;
  const context = start + tokens + room;
  const params = {
    ...(tokens === 1 ? {} : { tokens }),
    start,
    heads,
    kv_heads: kvHeads,
    d: headDim,
    ...(room ? { room } : {}),
    ...(spare ? { spare } : {}),
    outliers,
    variant: variant ?? prefill,
  };
  return defineCase(tokens === 1 ? "attention_decode" : "attention_prefill", params, {
    step: { units: tokens, start },
    maxUnits: tokens + spare,
    ...(size ? { size } : {}),
    unsupported: (gpu) =>
      (variant && !attentionDecodeVariants(gpu).includes(variant)) || lacks(gpu, prefill)
        ? `this adapter does not run the variant ${variant ?? prefill}`
        : undefined,
    record(program, operands): Expectation[] {
      const { random } = operands;
      const width = heads * headDim;
      const qs = random.values(tokens * width);
      const keys = fillCache(random, kvHeads, context, headDim, start + tokens);
      const values = fillCache(random, kvHeads, context, headDim, start + tokens);
      if (outliers) addOutliers(keys, values, headDim, random);
      const q = operands.activation("q", { base: 0, unit: 1 }, width, qs);
      const cache: KvCache = {
        keys: operands.storage("keys", keys),
        values: operands.storage("values", values),
        kvHeads,
        headDim,
        context,
      };
      const out = causalAttention(program, q, cache, heads, { decode: variant, variant: prefill });
      const sample = pickedHeads(tokens, heads, headDim, start + tokens, random, (row, head) => {
        const base = Math.floor(head / (heads / kvHeads)) * context;
        const at: reference.Place = (j, i) => (base + j) * headDim + i;
        const query = qs.subarray(row * width + head * headDim, row * width + (head + 1) * headDim);
        return reference.attention(query, start + row + 1, { data: keys, at }, { data: values, at });
      });
      return [{ label: "out", buffer: out.buffer, kind: "f32", length: tokens * width, ...sample }];
    },
  });
}

function visionCase(
  heads: number,
  headDim: number,
  tokens: number,
  tiles = 1,
  size?: "full" | undefined,
  variant?: AttentionVariant,
): KernelCase {
  return defineCase(
    "attention_vision",
    { tokens, heads, d: headDim, ...(tiles > 1 ? { tiles } : {}), variant },
    {
      unsupported: (gpu) => (lacks(gpu, variant) ? `this adapter does not run the variant ${variant}` : undefined),
      step: { units: tiles, start: 0 },
      ...(size ? { size } : {}),
      record(program, operands: Operands): Expectation[] {
        const { random } = operands;
        const width = heads * headDim;
        const qkv = random.values(tiles * tokens * 3 * width);
        const out = visionAttention(program, operands.activation("qkv", { base: 0, unit: tokens }, 3 * width, qkv), heads, tokens, {
          variant,
        });
        const sample = pickedHeads(tiles * tokens, heads, headDim, tokens, random, (row, head) => {
          const first = Math.floor(row / tokens) * tokens;
          const place =
            (part: number): reference.Place =>
            (j, i) =>
              (first + j) * 3 * width + part * width + head * headDim + i;
          const from = row * 3 * width + head * headDim;
          return reference.attention(qkv.subarray(from, from + headDim), tokens, { data: qkv, at: place(1) }, { data: qkv, at: place(2) });
        });
        return [{ label: "out", buffer: out.buffer, kind: "f32", length: tiles * tokens * width, ...sample }];
      },
    },
  );
}

const DIMS = [4, 20, 64, 128]; // 64: the vision tower and 1B; 128: 4B
const GROUPS = [
  [1, 1],
  [2, 1],
  [3, 3],
  [14, 2],
  [16, 2],
] as const; // 14/2: 1B, 16/2: 4B

const DECODE_VARIANTS: readonly DecodeVariant[] = ["split", "lanes"];

/** A decode pipeline is one of a head width and a group, and costs seconds of compilation: these stand for all in the ordinary run. */
const isUsual = (headDim: number, heads: number, variant: DecodeVariant): boolean =>
  (headDim === 20 && heads === 2) || (headDim === 64 && heads === 14 && variant === "lanes");

/** Attention: causal over a KV cache (prefill of several tokens, decode of one), and of the vision tower. */
export function attentionCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const headDim of DIMS) {
    // A pipeline a head size costs more than its cases: the smallest one, and towers with large heads, are left to the full set.
    const size = headDim === 4 ? "full" : undefined;
    const visionSize = headDim === 20 || headDim === 64 ? undefined : "full";
    for (const [heads, kvHeads] of GROUPS) {
      const of = { headDim, heads, kvHeads, size } as const;
      for (const start of [0, 1, 3, 62, 63, 64, 65, 127, 300])
        for (const variant of DECODE_VARIANTS) {
          const size = isUsual(headDim, heads, variant) ? {} : ({ size: "full" } as const);
          cases.push(causalCase({ ...of, tokens: 1, start, room: start % 3, outliers: start % 2 === 1, variant, ...size }));
        }
      for (const [tokens, start] of [
        [2, 0],
        [3, 5],
        [16, 0],
        [63, 1],
        [64, 0],
        [65, 0],
        [65, 63],
      ] as const) {
        cases.push(causalCase({ ...of, tokens, start, room: start % 2, spare: tokens % 2, outliers: start === 63 }));
      }
    }
    for (const tokens of [1, 2, 3, 15, 16, 17, 63, 64, 65, 130]) cases.push(visionCase(3, headDim, tokens, 1, visionSize));
    cases.push(visionCase(2, headDim, 17, 3, visionSize), visionCase(1, headDim, 65, 2, visionSize));
    for (let i = 0; i < 8; i++) {
      const kvHeads = random.integer(1, 3);
      const heads = kvHeads * random.integer(1, 4);
      cases.push(
        causalCase({
          headDim,
          heads,
          kvHeads,
          size,
          tokens: random.integer(2, 140),
          start: random.integer(0, 90),
          room: random.integer(0, 9),
          spare: random.integer(0, 9),
        }),
      );
      const decode = { headDim, heads, kvHeads, tokens: 1, start: random.integer(0, 700), room: random.integer(0, 9) };
      cases.push(causalCase({ ...decode, size: "full" }));
      cases.push(visionCase(random.integer(1, 4), headDim, random.integer(1, 200), random.integer(1, 2), visionSize));
    }
  }
  cases.push(visionCase(1, 64, 1025), visionCase(16, 64, 1025, 1, "full"));
  // Each way to attend to many rows at once, which compile for seconds: the narrowest heads that all of them take, and the models'.
  for (const prefill of ["flash", "panels", "thread"] as const) {
    for (const headDim of [32, 64, 96, 128]) {
      const size = headDim === 32 ? undefined : ("full" as const);
      for (const [tokens, start] of [
        [2, 0],
        [17, 3],
        [65, 62],
        [130, 1],
      ] as const) {
        cases.push(causalCase({ heads: 6, kvHeads: 2, headDim, tokens, start, room: 2, spare: 1, prefill, ...(size ? { size } : {}) }));
        cases.push(visionCase(3, headDim, tokens, 2, size, prefill));
      }
    }
  }
  // One split, two, all of them, in a cache with room for more; the largest group.
  for (const variant of DECODE_VARIANTS) {
    const decode = { heads: 2, kvHeads: 1, headDim: 20, tokens: 1, variant };
    cases.push(
      causalCase({ ...decode, start: 247, room: 300 }),
      causalCase({ ...decode, start: 248, room: 300, outliers: true }),
      causalCase({ ...decode, start: 2047 }),
      causalCase({ heads: 16, kvHeads: 2, headDim: 128, tokens: 1, start: 2047, variant, size: "full" }),
      causalCase({ heads: 16, kvHeads: 1, headDim: 128, tokens: 1, start: 8191, variant, size: "full" }),
    );
  }
  cases.push(causalCase({ heads: 2, kvHeads: 1, headDim: 64, tokens: 200, start: 400 }));
  return cases;
}
