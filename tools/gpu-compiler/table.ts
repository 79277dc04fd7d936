import { type FamilyName, familyOf, type Maker } from "./families.ts";
import type { Shortfall } from "./limits.ts";
import { hotLoop, type Kind, type Loop } from "./loops.ts";
import type { Row } from "./rows.ts";
import type { TokenCost } from "./token.ts";

const OCCUPANCY: Readonly<Record<Maker, string>> = {
  AMD: "waves/SIMD",
  Intel: "busy threads",
  NVIDIA: "warps/SM",
  Apple: "threads/core",
};

const NAMED: readonly Kind[] = ["matrix", "dot4", "fma", "memory", "shared", "scratch", "wait", "barrier"]; // shown even where there are none
const QUIET: ReadonlySet<Kind> = new Set(["scratch", "barrier", "matrix", "dot4"]); // but these

/** A loop in one line: how many instructions, the shares of what matters, and the loads and stores by width. */
export function describeLoop({ instructions, pairs, mix, wide }: Loop): string {
  const share = (kind: Kind) => `${kind} ${mix[kind] ?? 0}${mix[kind] ? ` (${Math.round((100 * mix[kind]) / instructions)} %)` : ""}`;
  const shown = NAMED.filter((kind) => mix[kind] || !QUIET.has(kind)).map(share);
  const others = (Object.entries(mix) as [Kind, number][]).filter(([kind]) => !NAMED.includes(kind)).sort(([, a], [, b]) => b - a);
  const widths = Object.entries(wide)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 6);
  const parts = [...shown, ...others.map(([kind, count]) => `${kind} ${count}`)];
  const together = pairs ? ` (${pairs} pairs of them issued as one)` : "";
  return `${instructions} instructions${together}: ${parts.join(", ")}${widths.length ? `; ${widths.map(([name, count]) => `${count} ${name}`).join(", ")}` : ""}`;
}

const COLUMNS = ["kernel", "SIMD", "of", "registers", "spills", "fills", "scratch", "shared", "occupancy", "instructions", "cycles", "ms"];

/** A family's rows: a line a kernel, and one of its hot loop below. */
export function describeFamily(family: FamilyName, adapter: string, rows: readonly Row[]): string {
  const { maker, gpu } = familyOf(family);
  const cells = rows.map((r) => [
    r.kernel,
    ...[
      r.subgroupSize,
      r.workgroup,
      r.registers,
      r.spills,
      r.fills,
      r.scratch,
      r.shared,
      r.occupancy,
      r.instructions,
      r.cycles,
      r.compileMs,
    ].map((value) => (value === undefined ? "-" : String(value))),
  ]);
  const all = [COLUMNS, ...cells];
  const widths = COLUMNS.map((_, i) => Math.max(...all.map((line) => line[i]!.length)));
  const line = (each: readonly string[]) =>
    each.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  const out = [`${family} (${maker} ${gpu}; ${adapter}); occupancy in ${OCCUPANCY[maker]}`, `  ${line(COLUMNS)}`];
  rows.forEach((row, i) => {
    out.push(row.failed === undefined ? `  ${line(cells[i]!)}` : `  ${row.kernel.padEnd(widths[0]!)}  DOES NOT COMPILE: ${row.failed}`);
    const loop = row.loops && hotLoop(row.loops);
    if (loop) out.push(`      hot loop, ${describeLoop(loop)}`);
  });
  return out.join("\n");
}

const rounded = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(2));

/** `attention.flash(D=128) on bmg: spills 83, at most 0`. */
export const describeShortfall = ({ row, measure, value, limit, atLeast }: Shortfall): string =>
  measure === "failed"
    ? `${row.kernel} on ${row.family} does not compile: ${row.failed}`
    : `${row.kernel} on ${row.family}: ${measure} ${rounded(value)}, ${atLeast ? "at least" : "at most"} ${limit}`;

/** `4b q4: a token is 183 dispatches, …`. */
export const describeToken = ({ model, dispatches, mainMs, allMs }: TokenCost): string =>
  `${model}: a token is ${dispatches.toFixed(0)} dispatches, ${mainMs.toFixed(3)} ms of the main thread, ${allMs.toFixed(3)} ms of all threads (CPU time; the GPU takes none)`;
