import { type DecodeVariant, VARIANTS } from "../../ops/choose.ts";
import type { KvDtype } from "../../ops/kv-cache.ts";
import type { KernelCase } from "../case.ts";
import type { Random } from "../random.ts";
import { causalCase, visionCase } from "./attention-case.ts";

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
        if (start === 3) for (const kv of ["f32", "f16"] as const) cases.push(causalCase({ ...of, kv, huge: true }));
        cases.push(visionCase(3, headDim, tokens, 2, size, prefill));
        if (prefill === "flash_subgroup_matrix")
          cases.push(
            causalCase({ ...of, kv: "f16", precision: "auto", outliers: start === 62 }),
            visionCase(3, headDim, tokens, 2, size, prefill, "auto"),
          );
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
        causalCase({ ...decode, kv, positions: [249], huge: true }),
        causalCase({ ...wide, kvHeads: 2, kv, positions: [600], huge: true }),
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
