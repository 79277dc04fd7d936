import { type Kind, type Loop, tally } from "./loops.ts";

/** An instruction's first letters, and what it is for; the first that fits counts. ACO's text, GCN to RDNA 4. */
const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^v_(wmma|swmmac|mfma)/, "matrix"],
  [/^v_dot/, "dot4"],
  [/^v_(dual_)?(pk_)?(fma|fmac|fmaak|fmamk|mac|mad_f|mad_mix|fma_mix|madmk|madak)/, "fma"],
  [/^v_(exp|log|rcp|rsq|sqrt|sin|cos)/, "special"],
  [/^v_s_(exp|log|rcp|rsq|sqrt)/, "special"],
  [/^v_(cvt|pk_cvt)/, "convert"],
  [/^(ds_bpermute|ds_permute|ds_swizzle|v_readlane|v_readfirstlane|v_writelane|v_permlane|v_mov_b32_dpp)/, "shuffle"],
  [/^v_(dual_)?mov/, "move"],
  [/^v_(dual_)?(cmp|cndmask|min|max|med)/, "select"],
  [/^v_(dual_)?(pk_)?(add|sub|subrev|mul|ldexp|fract|floor|trunc|rndne|ceil)_(f16|f32|f64|legacy)/, "float"],
  [/^v_/, "int"],
  [/^ds_/, "shared"],
  [/^scratch_/, "scratch"],
  [/^(buffer|global|flat|image|tbuffer)_/, "memory"],
  [/^s_(load|buffer_load|store|dcache)/, "constant"],
  [/^s_wait/, "wait"],
  [/^s_barrier/, "barrier"],
  [/^s_(delay|clause|nop|inst_prefetch|set_inst_prefetch|sleep|setprio)/, "hint"],
  [/^s_(cbranch|branch|endpgm|call|setpc)/, "branch"],
  [/^s_/, "scalar"],
];

const WIDE: ReadonlySet<Kind> = new Set(["matrix", "shared", "memory", "scratch"]);

/** Loops of ACO's text: blocks `BB7:`, and branches that go back to one. */
export function amdLoops(isa: string): Loop[] {
  const blocks: string[][] = [];
  const at = new Map<string, number>();
  for (const raw of isa.split("\n")) {
    const label = /^\s*(BB\d+):/.exec(raw)?.[1];
    const line = raw.split(";")[0]!.trim();
    if (label) {
      at.set(label, blocks.length);
      blocks.push([]);
    } else if (/^[a-z]\w*_/.test(line)) {
      if (blocks.length === 0) blocks.push([]);
      blocks.at(-1)!.push(...line.split(" :: ")); // two that are issued together count as two
    }
  }
  const ends = new Map<number, number>(); // the last block that jumps back to one
  blocks.forEach((lines, i) => {
    for (const line of lines) {
      const to = at.get(/^s_c?branch\S*\s+(BB\d+)/.exec(line)?.[1] ?? "");
      if (to !== undefined && to <= i) ends.set(to, Math.max(ends.get(to) ?? 0, i));
    }
  });
  const loops = [...ends].sort(([a], [b]) => a - b);
  return loops.map(([from, to]) => {
    const innermost = !loops.some(([a, z]) => a >= from && z <= to && (a !== from || z !== to));
    const lines = blocks.slice(from, to + 1).flat();
    const counted = tally(
      innermost,
      lines.map((line) => {
        const op = line.split(/\s/)[0]!.replace(/_e(32|64)(_dpp)?$/, "");
        const kind = KINDS.find(([begins]) => begins.test(op))?.[1] ?? "int";
        return { kind, wide: WIDE.has(kind) ? op : undefined };
      }),
    );
    return { ...counted, pairs: lines.filter((line) => line.startsWith("v_dual_")).length / 2 };
  });
}
