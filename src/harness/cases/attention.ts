import type { Gpu } from "../../gpu/device.ts";
import { causalAttention, ropeAttention, visionAttention } from "../../ops/attention.ts";
import { type AttentionVariant, type DecodeVariant, type MatmulVariant, VARIANTS, variantsOf } from "../../ops/choose.ts";
import type { KvCache, KvDtype } from "../../ops/kv-cache.ts";
import { matmul } from "../../ops/matmul.ts";
import * as reference from "../../reference/attention.ts";
import { norm } from "../../reference/norm.ts";
import type { Activation } from "../../tensor/tensor.ts";
import { boundOf } from "../bounds.ts";
import { defineCase, type Expectation, type KernelCase, type Operands, stepOf, wholeOf } from "../case.ts";
import { POISON } from "../guard.ts";
import { indicesOf, pickFrom } from "../picks.ts";
import type { Random } from "../random.ts";
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
      if (outliers) addOutliers(keys, values, headDim, random);
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
      return [{ label: "out", buffer: out.buffer, kind: "f32", length: tokens * width, ...sample, peer }, ...appended];
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

const DIMS = [4, 20, 64, 128]; // 64: the vision tower and 1B; 128: 4B
const GROUPS = [
  [1, 1],
  [2, 1],
  [3, 3],
  [14, 2],
  [16, 2],
] as const; // 14/2: 1B, 16/2: 4B

const DECODE_VARIANTS = VARIANTS.decode;

/** A decode pipeline is one of a head width and a group, and costs seconds of compilation: these stand for all in the ordinary run. */
const isUsual = (headDim: number, heads: number, variant: DecodeVariant): boolean =>
  (headDim === 20 && heads === 2) || (headDim === 64 && heads === 14 && variant !== "split");

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
          cases.push(causalCase({ ...of, positions: [start], room: start % 3, outliers: start % 2 === 1, variant, ...size }));
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
      const decode = {
        headDim,
        heads,
        kvHeads,
        positions: [random.integer(0, 700)],
        room: random.integer(0, 9),
        kv: random.pick<KvDtype>(["f32", "f16"]),
      };
      cases.push(causalCase({ ...decode, size: "full" }));
      cases.push(visionCase(random.integer(1, 4), headDim, random.integer(1, 200), random.integer(1, 2), visionSize));
    }
  }
  cases.push(visionCase(1, 64, 1025), visionCase(16, 64, 1025, 1, "full"));
  // Each way to attend to many rows at once, which compile for seconds: the narrowest heads that all of them take, and the models'.
  for (const prefill of VARIANTS.attention) {
    for (const headDim of [20, 32, 64, 96, 128]) {
      const size = headDim === 32 ? undefined : ("full" as const);
      for (const [tokens, start] of [
        [2, 0],
        [17, 3],
        [65, 62],
        [130, 1],
      ] as const) {
        const of = { heads: 6, kvHeads: 2, headDim, tokens, start, room: 2, spare: 1, prefill, size };
        cases.push(causalCase(of), causalCase({ ...of, kv: "f16", outliers: start === 62 }));
        cases.push(visionCase(3, headDim, tokens, 2, size, prefill));
        if (prefill === "flash_subgroup_matrix")
          cases.push(causalCase({ ...of, kv: "f16", precision: "auto" }), visionCase(3, headDim, tokens, 2, size, prefill, "auto"));
      }
      // Few queries after many keys, which are split: some rows do not see the last split, some splits are empty.
      for (const [tokens, start] of [
        [2, 511],
        [100, 1200],
        [33, 1800],
        [128, 2100],
      ] as const)
        cases.push(
          causalCase({ heads: 6, kvHeads: 2, headDim, tokens, start, spare: 40, kv: "f16", prefill, size, outliers: start === 1800 }),
        );
    }
  }
  for (const variant of DECODE_VARIANTS) {
    // One split, two, all of them, in a cache with room for more; the largest group.
    const headDim = variant === "cpu_vec8" ? 72 : 20; // a block of 8 vec8s, and one of a single vec8
    const decode = { heads: 2, kvHeads: 1, headDim, variant } as const;
    const wide = { heads: 16, headDim: 128, variant, size: "full" } as const;
    for (const kv of ["f32", "f16"] as const) {
      cases.push(
        causalCase({ ...decode, kv, positions: [247], room: 300 }),
        causalCase({ ...decode, kv, positions: [248], room: 300, outliers: true }),
        causalCase({ ...decode, kv, positions: [2047] }),
        causalCase({ ...decode, kv, positions: [2048], room: 3000 }),
        causalCase({ ...decode, kv, positions: [2100, 40, 2047], room: 1 }),
        causalCase({ ...wide, kvHeads: 2, kv, positions: [2047] }),
        causalCase({ ...wide, kvHeads: 1, kv, positions: [8191] }),
      );
      // Rows that are sequences of their own: with one split and with many, side by side, and of some slots only.
      for (const positions of [
        [5, 0],
        [300, 3, undefined, 62],
        [undefined, 64, 700],
        [0, 1, 247, 248, undefined, 64, 900, 499],
      ]) {
        const spare = positions.length === 2 ? 2 : 0;
        cases.push(causalCase({ ...decode, kv, positions, room: 9, spare, outliers: positions.length === 4 }));
        cases.push(causalCase({ ...wide, kvHeads: 2, kv, positions, spare }));
      }
    }
  }
  cases.push(causalCase({ heads: 2, kvHeads: 1, headDim: 64, tokens: 200, start: 400 }));
  // With rope and the append: 1B's heads in the ordinary run, other widths and groups, one that no kernel takes whole.
  for (const variant of DECODE_VARIANTS) {
    for (const [heads, kvHeads, headDim] of [
      [14, 2, 64],
      [16, 2, 128],
      [4, 4, 96],
      [6, 2, 24],
      [16, 1, 64],
      [2, 1, 20],
    ] as const) {
      const size = heads === 14 ? {} : ({ size: "full" } as const);
      for (const kv of ["f32", "f16"] as const)
        for (const positions of [[0], [31], [32], [300], [95, 0, undefined, 64]])
          cases.push(
            causalCase({
              heads,
              kvHeads,
              headDim,
              kv,
              positions,
              room: 2,
              spare: positions.length > 1 ? 1 : 0,
              rope: true,
              variant,
              ...size,
            }),
          );
    }
  }
  // Normed heads, and the product behind: 1B's heads in the ordinary run; one split, few of every length, then many; rows that are several.
  for (const [heads, kvHeads, headDim] of [
    [14, 2, 64],
    [32, 8, 128],
    [6, 2, 40],
  ] as const) {
    const of = {
      heads,
      kvHeads,
      headDim,
      rope: true,
      variant: "split",
      room: 600,
      ...(heads === 14 ? {} : ({ size: "full" } as const)),
    } as const;
    for (const positions of [[0], [40], [700], [5, 600]]) cases.push(causalCase({ ...of, positions, normed: true }));
    for (const product of ["gemv_subgroup", "gemv_workgroup"] as const) {
      for (const positions of [[31], [32], [511], [512], [2047], [2048], [700, 40]])
        cases.push(causalCase({ ...of, positions, product, ...(positions[0]! > 512 && { size: "full" as const }) }));
    }
    cases.push(causalCase({ ...of, positions: [60], product: "gemv_workgroup", room: 3, size: "full" })); // room for two splits
    cases.push(causalCase({ ...of, positions: [900], product: "gemv_subgroup", normed: true, outliers: true, size: "full" }));
  }
  return cases;
}
