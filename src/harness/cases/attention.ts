import { type DecodeVariant, VARIANTS } from "../../ops/choose.ts";
import type { KvDtype } from "../../ops/kv-cache.ts";
import type { KernelCase } from "../case.ts";
import type { Random } from "../random.ts";
import { type Causal, causalCase, visionCase } from "./attention-case.ts";

const DIMS = [4, 20, 64, 128]; // 64: the vision tower and 1B; 128: 4B
const GROUPS = [
  [1, 1],
  [2, 1],
  [3, 3],
  [14, 2],
  [16, 2],
] as const; // 14/2: 1B, 16/2: 4B
const KV: readonly KvDtype[] = ["f32", "f16"];

const fullIf = (full: boolean): Pick<Causal, "size"> => ({ size: full ? "full" : undefined });

/** A decode pipeline is one of a head width and a group, and costs seconds of compilation: these stand for all in the ordinary run. */
const isUsual = (headDim: number, heads: number, variant: DecodeVariant): boolean =>
  (headDim === 20 && heads === 2) || (headDim === 64 && heads === 14 && variant !== "split");

/** Steps around the sizes of blocks, for a group of heads. */
function* aroundBlocks(of: Pick<Causal, "heads" | "kvHeads" | "headDim" | "size">): Generator<KernelCase> {
  for (const start of [0, 1, 3, 62, 63, 64, 65, 127, 300])
    for (const variant of VARIANTS.decode) {
      const size = fullIf(!isUsual(of.headDim, of.heads, variant));
      yield causalCase({ ...of, positions: [start], room: start % 3, outliers: start % 2 === 1, variant, ...size });
    }
  for (const [tokens, start] of [
    [2, 0],
    [3, 5],
    [16, 0],
    [63, 1],
    [64, 0],
    [65, 0],
    [65, 63],
  ] as const)
    yield causalCase({ ...of, tokens, start, room: start % 2, spare: tokens % 2, outliers: start === 63 });
}

/** What the engine chooses, for heads of one width. A pipeline a head size costs more than its cases: some are left to the full set. */
function* ofWidth(headDim: number, random: Random): Generator<KernelCase> {
  const size = headDim === 4 ? "full" : undefined;
  const vision = { headDim, ...fullIf(headDim !== 20 && headDim !== 64) };
  for (const [heads, kvHeads] of GROUPS) yield* aroundBlocks({ headDim, heads, kvHeads, size });
  for (const tokens of [1, 2, 3, 15, 16, 17, 63, 64, 65, 130]) yield visionCase({ ...vision, heads: 3, tokens });
  yield visionCase({ ...vision, heads: 2, tokens: 17, tiles: 3 });
  yield visionCase({ ...vision, heads: 1, tokens: 65, tiles: 2 });
  const upTo9 = () => random.integer(0, 9);
  for (let i = 0; i < 8; i++) {
    const kvHeads = random.integer(1, 3);
    const of = { headDim, heads: kvHeads * random.integer(1, 4), kvHeads };
    yield causalCase({ ...of, size, tokens: random.integer(2, 140), start: random.integer(0, 90), room: upTo9(), spare: upTo9() });
    yield causalCase({ ...of, positions: [random.integer(0, 700)], room: upTo9(), kv: random.pick(KV), size: "full" });
    yield visionCase({ ...vision, heads: random.integer(1, 4), tokens: random.integer(1, 200), tiles: random.integer(1, 2) });
  }
}

/** Each way to attend to many rows at once, which compile for seconds: the narrowest heads that all of them take, and the models'. */
function* prefillVariants(): Generator<KernelCase> {
  for (const prefill of VARIANTS.attention) {
    for (const headDim of [20, 32, 64, 96, 128]) {
      const size = fullIf(headDim !== 32);
      const common = { heads: 6, kvHeads: 2, headDim, prefill, ...size };
      for (const [tokens, start] of [
        [2, 0],
        [17, 3],
        [65, 62],
        [130, 1],
      ] as const) {
        const of = { ...common, tokens, start, room: 2, spare: 1 };
        yield causalCase(of);
        yield causalCase({ ...of, kv: "f16", outliers: start === 62 });
        if (start === 3) for (const kv of KV) yield causalCase({ ...of, kv, huge: true });
        if (start === 1) for (const kv of KV) yield causalCase({ ...of, kv, rising: true });
        const vision = { heads: 3, headDim, tokens, tiles: 2, variant: prefill, ...size };
        yield visionCase(vision);
        if (prefill !== "flash_subgroup_matrix") continue;
        yield causalCase({ ...of, kv: "f16", precision: "auto", outliers: start === 62 });
        yield visionCase({ ...vision, precision: "auto" });
      }
      // Few queries after many keys, which are split: some rows do not see the last split, some splits are empty.
      for (const [tokens, start] of [
        [2, 511],
        [100, 1200],
        [33, 1800],
        [128, 2100],
      ] as const)
        yield causalCase({ ...common, tokens, start, spare: 40, kv: "f16", outliers: start === 1800 });
    }
  }
}

/** Each way to decode: one split, two, all of them, in a cache with room for more; the largest group; sequences side by side. */
function* decodeVariants(): Generator<KernelCase> {
  for (const variant of VARIANTS.decode)
    for (const kv of KV) {
      const headDim = variant === "cpu_vec8" ? 72 : 20; // a block of 8 vec8s, and one of a single vec8
      const of = { heads: 2, kvHeads: 1, headDim, variant, kv };
      const wide = { heads: 16, kvHeads: 2, headDim: 128, variant, kv, size: "full" } as const;
      yield causalCase({ ...of, positions: [247], room: 300 });
      yield causalCase({ ...of, positions: [248], room: 300, outliers: true });
      yield causalCase({ ...of, positions: [249], huge: true });
      yield causalCase({ ...wide, positions: [600], huge: true });
      yield causalCase({ ...of, positions: [2047] });
      yield causalCase({ ...of, positions: [2048], room: 3000 });
      yield causalCase({ ...of, positions: [2100, 40, 2047], room: 1 });
      yield causalCase({ ...wide, positions: [2047] });
      yield causalCase({ ...wide, kvHeads: 1, positions: [8191] });
      // With one split and with many, side by side, and of some slots only.
      for (const positions of [
        [5, 0],
        [300, 3, undefined, 62],
        [undefined, 64, 700],
        [0, 1, 247, 248, undefined, 64, 900, 499],
      ]) {
        const spare = positions.length === 2 ? 2 : 0;
        yield causalCase({ ...of, positions, room: 9, spare, outliers: positions.length === 4 });
        yield causalCase({ ...wide, positions, spare });
      }
    }
}

/** With rope and the append: 1B's heads in the ordinary run, other widths and groups, one that no kernel takes whole. */
function* withRope(): Generator<KernelCase> {
  for (const variant of VARIANTS.decode)
    for (const [heads, kvHeads, headDim] of [
      [14, 2, 64],
      [16, 2, 128],
      [4, 4, 96],
      [6, 2, 24],
      [16, 1, 64],
      [2, 1, 20],
    ] as const)
      for (const kv of KV)
        for (const positions of [[0], [31], [32], [300], [95, 0, undefined, 64]]) {
          const of = { heads, kvHeads, headDim, kv, variant, ...fullIf(heads !== 14) };
          yield causalCase({ ...of, positions, room: 2, spare: positions.length > 1 ? 1 : 0, rope: true });
        }
}

/** Normed heads, and the product behind: 1B's heads in the ordinary run; one split, few of every length, then many; rows that are several. */
function* withNormAndProduct(): Generator<KernelCase> {
  for (const [heads, kvHeads, headDim] of [
    [14, 2, 64],
    [32, 8, 128],
    [6, 2, 40],
  ] as const) {
    const of = { heads, kvHeads, headDim, rope: true, variant: "split", room: 600, ...fullIf(heads !== 14) } as const;
    for (const positions of [[0], [40], [700], [5, 600]]) yield causalCase({ ...of, positions, normed: true });
    for (const product of ["gemv_subgroup", "gemv_workgroup"] as const) {
      for (const positions of [[31], [32], [511], [512], [2047], [2048], [700, 40]])
        yield causalCase({ ...of, positions, product, ...(positions[0]! > 512 && { size: "full" }) });
    }
    yield causalCase({ ...of, positions: [60], product: "gemv_workgroup", room: 3, size: "full" }); // room for two splits
    yield causalCase({ ...of, positions: [900], product: "gemv_subgroup", normed: true, outliers: true, size: "full" });
  }
}

/** Attention: causal over a KV cache (prefill of several tokens, decode of one), and of the vision tower. */
export const attentionCases = (random: Random): KernelCase[] => [
  ...DIMS.flatMap((headDim) => [...ofWidth(headDim, random)]),
  visionCase({ heads: 1, headDim: 64, tokens: 1025 }),
  visionCase({ heads: 16, headDim: 64, tokens: 1025, size: "full" }),
  ...prefillVariants(),
  ...decodeVariants(),
  causalCase({ heads: 2, kvHeads: 1, headDim: 64, tokens: 200, start: 400 }),
  ...withRope(),
  ...withNormAndProduct(),
];
