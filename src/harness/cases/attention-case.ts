import type { Gpu } from "../../gpu/device.ts";
import { causalAttention, ropeAttention, visionAttention } from "../../ops/attention.ts";
import { type AttentionVariant, type DecodeVariant, type MatmulVariant, variantsOf } from "../../ops/choose.ts";
import type { KvCache, KvDtype } from "../../ops/kv-cache.ts";
import { matmul } from "../../ops/matmul.ts";
import * as reference from "../../reference/attention.ts";
import { norm } from "../../reference/norm.ts";
import type { Activation } from "../../tensor/tensor.ts";
import { boundOf, scoresOf } from "../bounds.ts";
import { defineCase, type Expectation, type KernelCase, type Operands, stepOf, wholeOf } from "../case.ts";
import { POISON } from "../guard.ts";
import { indicesOf, pickFrom } from "../picks.ts";
import { HUGE, type Random } from "../random.ts";
import { addOutliers, cacheWords, drawCache, quarterTurns } from "./attention-data.ts";

interface Causal {
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

/** Some (row, head) pairs of an output [rows, heads · headDim], of the rows that are there, and their references. */
function pickedHeads(
  rows: readonly number[],
  heads: number,
  headDim: number,
  keys: number,
  random: Random,
  each: (row: number, head: number) => Float64Array,
) {
  const picked = pickFrom(rows.length * heads, Math.max(12, Math.floor(1e6 / (2 * keys * headDim))), random);
  const pairs = picked.map((pair) => rows[Math.floor(pair / heads)]! * heads + (pair % heads));
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
const COLUMNS = 24; // of a product behind: more than a workgroup's

const lacks = (gpu: Gpu, variant: AttentionVariant | undefined, width: number): boolean =>
  variant !== undefined && !variantsOf(gpu, "attention", { width }).includes(variant);

export function causalCase(spec: Causal): KernelCase {
  const {
    heads,
    kvHeads,
    headDim,
    positions,
    room = 0,
    spare = 0,
    outliers,
    huge,
    kv = "f32",
    variant,
    rope,
    normed,
    product,
    prefill,
    precision,
    size,
  } = spec;
  const decoded = positions && stepOf(positions);
  const { units: tokens, start } = decoded ?? { units: spec.tokens!, start: spec.start! };
  const context = (positions ? start + 1 : start + tokens) + room;
  const several = positions && positions.length > 1;
  const params = {
    ...(positions ? {} : { tokens }),
    ...(several ? { at: positions.map((position) => position ?? "none").join("/") } : { start }),
    heads,
    kv_heads: kvHeads,
    d: headDim,
    kv,
    ...(room ? { room } : {}),
    ...(spare ? { spare } : {}),
    outliers,
    huge,
    rope,
    normed,
    product,
    precision,
    variant: variant ?? prefill,
  };
  return defineCase(positions ? "attention_decode" : "attention_prefill", params, {
    step: decoded ?? { units: tokens, start },
    maxUnits: tokens + spare,
    ...(precision && { bound: boundOf("attention_prefill", precision) }),
    ...(huge && { bound: scoresOf(HUGE) }),
    ...(size ? { size } : {}),
    unsupported: (gpu) =>
      (variant && !variantsOf(gpu, "decode", { width: headDim }).includes(variant)) ||
      lacks(gpu, prefill, headDim) ||
      (product && !variantsOf(gpu, "matmul", { dtype: "bf16", rows: tokens, width: heads * headDim }).includes(product))
        ? `this adapter does not run the variant ${variant ?? prefill}${product ? ` or ${product}` : ""}`
        : undefined,
    record(program, operands): Expectation[] {
      const { random } = operands;
      const width = heads * headDim;
      const qs = random.values(tokens * width);
      const shape = { slots: positions ? positions.length + spare : 2, kvHeads, context, headDim };
      const slot = positions ? undefined : 1;
      /** How many keys the last query of a slot of the cache sees. */
      const seen = (of: number) => (positions ? (positions[of] ?? -1) + 1 : of === slot ? start + tokens : 0);
      // With rope whole caches are looked at: what lies behind the last position is numbers like the others.
      const drawn = rope ? () => context : seen;
      const keys = drawCache(random, shape, drawn);
      const values = drawCache(random, shape, drawn);
      const unit = outliers || huge ? addOutliers(keys, values, headDim, random, huge ? [HUGE, HUGE] : undefined) : undefined;
      /** Where an element of a cache is in its sequence. */
      const positionOf = (i: number) => Math.floor(i / headDim) % context;
      const slotOf = (i: number) => Math.floor(i / (kvHeads * context * headDim));
      const words = (of: Float32Array<ArrayBuffer>) => {
        const held = cacheWords(of, shape, kv, drawn);
        const each = of.length / held.length;
        return rope ? held.map((word, i) => (positionOf(i * each) + 1 === seen(slotOf(i * each)) ? POISON : word)) : held;
      };
      const cache: KvCache = {
        keys: operands.storage("keys", words(keys)),
        values: operands.storage("values", words(values)),
        dtype: kv,
        ...shape,
        slot,
      };
      const appended: Expectation[] = [];
      let out: Activation;
      let behind: Float32Array | undefined; // weights [COLUMNS, heads · headDim] of the product
      if (rope) {
        const { table, rotated } = quarterTurns(random, context, headDim);
        const step = decoded!;
        const gains = normed ? random.values(2 * headDim) : undefined; // [2, headDim]
        const turned = (x: Float32Array, position: number, key: number) =>
          rotated(gains ? Float32Array.from(norm(x, gains.subarray(key * headDim, (key + 1) * headDim), undefined, EPS)) : x, position);
        /** A row's heads of q | k | v before rope: what `keys` and `values` have is what comes of them. */
        const row = (r: number) => {
          const at = (slot: number, g: number) => ((slot * kvHeads + g) * context + step.positions[r]!) * headDim;
          const heads_ = (of: Float32Array) =>
            Array.from({ length: kvHeads }, (_, g) => of.slice(at(step.slots[r]!, g), at(step.slots[r]!, g) + headDim));
          const ks = heads_(keys);
          for (const [g, k] of ks.entries()) keys.set(turned(k, step.positions[r]!, 1), at(step.slots[r]!, g));
          return [...qs.slice(r * width, (r + 1) * width), ...ks.flatMap((k) => [...k]), ...heads_(values).flatMap((v) => [...v])];
        };
        const qkv = Float32Array.from(Array.from({ length: tokens }, (_, r) => row(r)).flat());
        for (let r = 0; r < tokens; r++)
          for (let h = 0; h < heads; h++)
            qs.set(
              turned(qs.slice(r * width + h * headDim, r * width + (h + 1) * headDim), step.positions[r]!, 0),
              r * width + h * headDim,
            );
        const input = operands.activation("qkv", { base: 0, unit: 1 }, width + 2 * kvHeads * headDim, qkv);
        const attended = ropeAttention(program, input, operands.storage("table", table), cache, heads, {
          decode: variant,
          headNorm: gains && { weight: operands.vector("norms", gains), eps: EPS },
          apart: product !== undefined,
        });
        out = attended;
        if (product) {
          const w = operands.matrix("w", COLUMNS, width, "bf16");
          out = matmul(program, attended, w.matrix, { splits: attended.splits, variant: product });
          behind = w.values;
        }
        for (const [label, buffer, data] of [
          ["keys", cache.keys, keys],
          ["values", cache.values, values],
        ] as const)
          appended.push({ ...wholeOf(label, buffer, data.length, () => data), kind: kv });
      } else {
        out = causalAttention(program, operands.activation("q", { base: 0, unit: 1 }, width, qs), cache, heads, {
          decode: variant,
          variant: prefill,
          precision,
        });
      }
      const every = Array.from({ length: tokens }, (_, i) => i);
      const attend = (query: number, head: number) => {
        const own = decoded ? decoded.slots[query]! : slot!;
        const base = (own * kvHeads + Math.floor(head / (heads / kvHeads))) * context;
        const at: reference.Place = (j, i) => (base + j) * headDim + i;
        const from = query * width + head * headDim;
        const count = decoded ? seen(own) : start + query + 1;
        return reference.attention(qs.subarray(from, from + headDim), count, { data: keys, at }, { data: values, at });
      };
      if (behind) {
        const w = behind;
        const product = () =>
          every.flatMap((row) => {
            const x = Array.from({ length: heads }, (_, head) => [...attend(row, head)]).flat();
            return Array.from({ length: COLUMNS }, (_, n) => x.reduce((sum, each, k) => sum + each * w[n * width + k]!, 0));
          });
        return [wholeOf("out", out.buffer, tokens * COLUMNS, product), ...appended];
      }
      const sample = pickedHeads(every, heads, headDim, start + tokens, random, attend);
      const own = (all: Float32Array<ArrayBuffer>) => all.subarray((slot ?? 0) * kvHeads * context * headDim);
      const peer = { op: "causal", tokens, context, heads, kvHeads, headDim, q: qs, keys: own(keys), values: own(values) } as const;
      return [
        { label: "out", buffer: out.buffer, kind: "f32", length: tokens * width, ...sample, ...(unit && { unit }), peer },
        ...appended,
      ];
    },
  });
}

export function visionCase(
  heads: number,
  headDim: number,
  tokens: number,
  tiles = 1,
  size?: "full" | undefined,
  variant?: AttentionVariant,
  precision?: "auto",
): KernelCase {
  return defineCase(
    "attention_vision",
    { tokens, heads, d: headDim, ...(tiles > 1 ? { tiles } : {}), precision, variant },
    {
      ...(precision && { bound: boundOf("attention_vision", precision) }),
      unsupported: (gpu) => (lacks(gpu, variant, headDim) ? `this adapter does not run the variant ${variant}` : undefined),
      step: { units: tiles, start: 0 },
      ...(size ? { size } : {}),
      record(program, operands: Operands): Expectation[] {
        const { random } = operands;
        const width = heads * headDim;
        const qkv = random.values(tiles * tokens * 3 * width);
        const out = visionAttention(program, operands.activation("qkv", { base: 0, unit: tokens }, 3 * width, qkv), heads, tokens, {
          variant,
          precision,
        });
        const every = Array.from({ length: tiles * tokens }, (_, row) => row);
        const sample = pickedHeads(every, heads, headDim, tokens, random, (row, head) => {
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
    },
  );
}
