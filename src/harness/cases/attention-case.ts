import type { Program } from "../../gpu/program.ts";
import { causalAttention, ropeAttention, visionAttention } from "../../ops/attention.ts";
import type { AttentionVariant, DecodeVariant, MatmulVariant } from "../../ops/choose.ts";
import type { KvCache, KvDtype } from "../../ops/kv-cache.ts";
import { matmul } from "../../ops/matmul.ts";
import * as reference from "../../reference/attention.ts";
import { norm } from "../../reference/norm.ts";
import type { Activation } from "../../tensor/tensor.ts";
import { boundOf, scoresOf } from "../bounds.ts";
import { defineCase, type Expectation, type KernelCase, lacks, type Operands, stepOf, wholeOf } from "../case.ts";
import { POISON } from "../guard.ts";
import { indicesOf, pickFrom } from "../picks.ts";
import { HUGE, type Random } from "../random.ts";
import { addOutliers, addSlope, cacheWords, drawCache, quarterTurns } from "./attention-data.ts";

/** A case of attention with a causal mask: sizes, positions, and how keys and values are held. */
export interface Causal {
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Queries of one sequence, in the second of the cache's two slots: a prefill. */
  tokens?: number;
  start?: number;
  /** Or a query of each slot that has a position: a decode step. */
  positions?: readonly (number | undefined)[];
  /** Positions that the cache has room for beyond the last key. */
  room?: number;
  spare?: number;
  outliers?: boolean;
  /** Outliers of 30,000: of a key column and a value column. */
  huge?: boolean;
  /** Each key's products with some queries are larger than those before it. */
  rising?: boolean;
  kv?: KvDtype;
  /** Of a decode step. */
  variant?: DecodeVariant;
  /** Of a decode step: from q | k | v as the projection gives them, with rope and the append. */
  rope?: boolean;
  /** With rope: each head of q and k is normed before. */
  normed?: boolean;
  /** With rope: the splits are put together by this product behind. */
  product?: MatmulVariant;
  /** Of a prefill. */
  prefill?: AttentionVariant | undefined;
  precision?: "auto";
  size?: "full" | undefined;
}

/** Some (row, head) pairs of an output [rows, heads · headDim], and their references. */
function pickedHeads(
  rows: number,
  { heads, headDim }: Pick<Causal, "heads" | "headDim">,
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

const EPS = 1e-6;
const SLOPE = 8; // of rising keys: a score grows by more than 2^8 from 32 keys to the next, for most queries
const COLUMNS = 24; // of a product behind: more than a workgroup's

/** Where a case's queries and keys are. */
function layoutOf({ heads, kvHeads, headDim, positions, tokens, start, room = 0, spare = 0 }: Causal) {
  const decoded = positions && stepOf(positions);
  const step = decoded ?? { units: tokens!, start: start! };
  const context = (positions ? step.start + 1 : step.start + step.units) + room;
  const slot = positions ? undefined : 1;
  return {
    ...{ decoded, step, slot, tokens: step.units, width: heads * headDim },
    shape: { slots: positions ? positions.length + spare : 2, kvHeads, context, headDim },
    /** How many keys the last query of a slot of the cache sees. */
    seen: (of: number) => (positions ? (positions[of] ?? -1) + 1 : of === slot ? step.start + step.units : 0),
  };
}
type Layout = ReturnType<typeof layoutOf>;

/**
 * The keys and values that are seen, [slots, kvHeads, context, headDim], and the cache as it is before. With rope whole caches are compared: what
 * lies behind the last position is numbers like the others, and the position that is appended is poison.
 */
function drawCaches({ random, storage }: Operands, { kv = "f32", rope, outliers, huge, rising }: Causal, { shape, seen, slot }: Layout) {
  const { kvHeads, context, headDim } = shape;
  const drawn = rope ? () => context : seen;
  const [keys, values] = [drawCache(random, shape, drawn), drawCache(random, shape, drawn)];
  const unit = outliers || huge ? addOutliers(keys, values, headDim, random, huge ? [HUGE, HUGE] : undefined) : undefined;
  if (rising) addSlope(keys, shape, SLOPE);
  const isAppended = (i: number) => (Math.floor(i / headDim) % context) + 1 === seen(Math.floor(i / (kvHeads * context * headDim)));
  const words = (of: Float32Array<ArrayBuffer>) => {
    const held = cacheWords(of, shape, kv, drawn);
    const perWord = of.length / held.length;
    return rope ? held.map((word, i) => (isAppended(i * perWord) ? POISON : word)) : held;
  };
  const cache: KvCache = { keys: storage("keys", words(keys)), values: storage("values", words(values)), dtype: kv, ...shape, slot };
  return { keys, values, unit, cache };
}
type Caches = ReturnType<typeof drawCaches>;

/**
 * Records a decode step from q | k | v: rope, append, attention, and the product behind where the case has one. Turns `qs` and the appended keys
 * into what attention sees.
 */
function recordRoped(
  program: Program,
  operands: Operands,
  { heads, kvHeads, headDim, normed, product, variant }: Causal,
  { decoded, width, shape: { context } }: Layout,
  qs: Float32Array<ArrayBuffer>,
  { keys, values, cache }: Caches,
): { out: Activation; behind?: Float32Array } {
  const { random } = operands;
  const { table, rotated } = quarterTurns(random, context, headDim);
  const gains = normed ? random.values(2 * headDim) : undefined; // [2, headDim]
  const turn = (x: Float32Array, position: number, gain: Float32Array | undefined) =>
    x.set(rotated(gain ? Float32Array.from(norm(x, gain, undefined, EPS)) : x, position));
  const rows = decoded!.positions.map((position, r) => {
    const appended = (of: Float32Array) =>
      Array.from({ length: kvHeads }, (_, g) => {
        const at = ((decoded!.slots[r]! * kvHeads + g) * context + position) * headDim;
        return of.subarray(at, at + headDim);
      });
    const queries = Array.from({ length: heads }, (_, h) => qs.subarray(r * width + h * headDim, r * width + (h + 1) * headDim));
    const row = [...queries, ...appended(keys), ...appended(values)].flatMap((x) => [...x]);
    for (const q of queries) turn(q, position, gains?.subarray(0, headDim));
    for (const k of appended(keys)) turn(k, position, gains?.subarray(headDim));
    return row;
  });
  const qkv = operands.activation("qkv", { base: 0, unit: 1 }, width + 2 * kvHeads * headDim, Float32Array.from(rows.flat()));
  const attended = ropeAttention(program, qkv, operands.storage("table", table), cache, heads, {
    decode: variant,
    headNorm: gains && { weight: operands.vector("norms", gains), eps: EPS },
    apart: product !== undefined,
  });
  if (!product) return { out: attended };
  const w = operands.matrix("w", COLUMNS, width, "bf16"); // [COLUMNS, heads · headDim]
  return { out: matmul(program, attended, w.matrix, { splits: attended.splits, variant: product }), behind: w.values };
}

/** The reference of a query's head. */
function attendOf({ heads, kvHeads }: Causal, { decoded, slot, step, width, shape, seen }: Layout, qs: Float32Array, caches: Caches) {
  const { context, headDim } = shape;
  return (query: number, head: number): Float64Array => {
    const own = decoded ? decoded.slots[query]! : slot!;
    const base = (own * kvHeads + Math.floor(head / (heads / kvHeads))) * context;
    const at: reference.Place = (j, i) => (base + j) * headDim + i;
    const from = query * width + head * headDim;
    const count = decoded ? seen(own) : step.start + query + 1;
    return reference.attention(qs.subarray(from, from + headDim), count, { data: caches.keys, at }, { data: caches.values, at });
  };
}

/** A case of prefill or decode attention over a KV cache. */
export function causalCase(spec: Causal): KernelCase {
  const { heads, kvHeads, headDim, positions, room = 0, spare = 0, outliers, huge, rising, kv = "f32" } = spec;
  const { variant, rope, normed, product, prefill, precision, size } = spec;
  const layout = layoutOf(spec);
  const { step, tokens, width, slot, shape } = layout;
  const params = {
    ...(positions ? {} : { tokens }),
    ...(positions && positions.length > 1 ? { at: positions.map((position) => position ?? "none").join("/") } : { start: step.start }),
    ...{ heads, kv_heads: kvHeads, d: headDim, kv },
    ...{ room: room || undefined, spare: spare || undefined },
    ...{ outliers, huge, rising, rope, normed, product, precision, variant: variant ?? prefill },
  };
  return defineCase(positions ? "attention_decode" : "attention_prefill", params, {
    step,
    maxUnits: tokens + spare,
    ...(precision && { bound: boundOf("attention_prefill", precision) }),
    ...(huge && { bound: scoresOf(HUGE) }),
    ...(rising && { bound: scoresOf(SLOPE * (step.start + tokens)) }),
    ...(size && { size }),
    unsupported: (gpu) =>
      lacks(gpu, "decode", variant, { width: headDim }) ??
      lacks(gpu, "attention", prefill, { width: headDim }) ??
      lacks(gpu, "matmul", product, { dtype: "bf16", rows: tokens, width }),
    record(program, operands): Expectation[] {
      const { random } = operands;
      const qs = random.values(tokens * width);
      const caches = drawCaches(operands, spec, layout);
      const { keys, values, unit, cache } = caches;
      const plain = () =>
        causalAttention(program, operands.activation("q", { base: 0, unit: 1 }, width, qs), cache, heads, {
          ...{ decode: variant, variant: prefill, precision },
        });
      const { out, behind: w } = rope ? recordRoped(program, operands, spec, layout, qs, caches) : { out: plain() };
      const appended = rope
        ? [wholeOf("keys", cache.keys, keys.length, () => keys, kv), wholeOf("values", cache.values, values.length, () => values, kv)]
        : [];
      const attend = attendOf(spec, layout, qs, caches);
      if (w) {
        const product = () =>
          Array.from({ length: tokens }, (_, row) => {
            const x = Array.from({ length: heads }, (_, head) => [...attend(row, head)]).flat();
            return Array.from({ length: COLUMNS }, (_, n) => x.reduce((sum, each, k) => sum + each * w[n * width + k]!, 0));
          }).flat();
        return [wholeOf("out", out.buffer, tokens * COLUMNS, product), ...appended];
      }
      const sample = pickedHeads(tokens, spec, step.start + tokens, random, attend);
      const own = (all: Float32Array<ArrayBuffer>) => all.subarray((slot ?? 0) * kvHeads * shape.context * headDim);
      const peer = {
        ...({ op: "causal", tokens, context: shape.context, heads, kvHeads, headDim } as const),
        ...{ q: qs, keys: own(keys), values: own(values) },
      };
      const output = { label: "out", buffer: out.buffer, kind: "f32", length: tokens * width, ...sample, peer } as const;
      return [{ ...output, ...(unit && { unit }) }, ...appended];
    },
  });
}

interface Vision {
  heads: number;
  headDim: number;
  /** Of a tile. */
  tokens: number;
  tiles?: number;
  size?: "full" | undefined;
  variant?: AttentionVariant | undefined;
  precision?: "auto";
}

/** A case of a picture's attention: every token sees all others of its tile. */
export function visionCase({ heads, headDim, tokens, tiles = 1, size, variant, precision }: Vision): KernelCase {
  const params = { tokens, heads, d: headDim, tiles: tiles > 1 ? tiles : undefined, precision, variant };
  return defineCase("attention_vision", params, {
    ...(precision && { bound: boundOf("attention_vision", precision) }),
    unsupported: (gpu) => lacks(gpu, "attention", variant, { width: headDim }),
    step: { units: tiles, start: 0 },
    ...(size && { size }),
    record(program, operands): Expectation[] {
      const { random } = operands;
      const width = heads * headDim;
      const qkv = random.values(tiles * tokens * 3 * width);
      const x = operands.activation("qkv", { base: 0, unit: tokens }, 3 * width, qkv);
      const out = visionAttention(program, x, heads, tokens, { variant, precision });
      const sample = pickedHeads(tiles * tokens, { heads, headDim }, tokens, random, (row, head) => {
        const first = Math.floor(row / tokens) * tokens;
        const place =
          (part: number): reference.Place =>
          (j, i) =>
            (first + j) * 3 * width + part * width + head * headDim + i;
        const from = row * 3 * width + head * headDim;
        return reference.attention(qkv.subarray(from, from + headDim), tokens, { data: qkv, at: place(1) }, { data: qkv, at: place(2) });
      });
      const peer = { op: "attention", tokens, heads, headDim, qkv } as const;
      return [{ label: "out", buffer: out.buffer, kind: "f32", length: tiles * tokens * width, ...sample, peer }];
    },
  });
}
