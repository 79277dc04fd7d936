import { type FamilyName, familyOf, type Maker } from "./families.ts";
import { type Loop, loopsOf } from "./loops.ts";
import type { TokenCost } from "./token.ts";

/** What a GPU's compiler made of a kernel. What it does not say is undefined. */
export interface Row {
  family: FamilyName;
  /** The shader's name with what tells its variants apart: `attention.flash(D=128,kv.f16)`. */
  kernel: string;
  /** Who runs it: a model in a format, a case of the harness, a file. */
  usedBy: string[];
  /** Why it does not compile; what follows is then absent. */
  failed?: string;
  /** Lanes of a subgroup as it was compiled, and invocations of a workgroup. */
  subgroupSize?: number;
  workgroup?: number;
  /** A lane's registers: of 32 bits (AMD's VGPRs, NVIDIA's), Apple's of 16. Intel: the most that live at once. */
  registers?: number;
  /** Values moved to memory for want of registers, and moved back. */
  spills?: number;
  fills?: number;
  /** Bytes of memory for those and for arrays that are indexed; as each compiler counts them. */
  scratch?: number;
  /** Bytes of workgroup memory. */
  shared?: number;
  /** Subgroups that share a scheduler (AMD), a core's busy threads (Intel, Apple), a multiprocessor's warps (NVIDIA). */
  occupancy?: number;
  instructions?: number;
  /** As each compiler estimates them: AMD's inverse throughput, Intel's and NVIDIA's cycles. */
  cycles?: number;
  /** Thread CPU time of the driver's compiler. */
  compileMs?: number;
  /** Every loop, outer ones too; undefined where the compiler gives no text. */
  loops?: Loop[];
  /** The compiler's own statistics, by its own names. */
  statistics?: Statistics;
}

/** What stands in the file that the child process and the driver write together, a JSON document a line. */
type Line =
  | { kernel: string; id: number } // the driver's lines behind it are this kernel's; below 0 nobody's
  | { error: string; id: number } // Dawn's words
  | { failed: number } // the driver's VkResult
  | { done: true; adapter: string; uses: Record<string, string[]>; tokens?: TokenCost[] }
  | { subgroupSize: number; isa?: string }; // the driver's: its compiler's statistics besides

type Statistics = { [name: string]: number };

/** Where each number stands in the compiler's own statistics: names, the first that is there counts. */
const NAMES: Readonly<Record<Maker, Partial<Record<keyof Row, readonly string[]>>>> = {
  AMD: {
    registers: ["VGPRs"],
    spills: ["Spilled VGPRs"],
    scratch: ["Scratch size"],
    shared: ["LDS size"],
    occupancy: ["Subgroups per SIMD"],
    instructions: ["Instructions"],
    cycles: ["Inverse Throughput"],
  },
  Intel: {
    registers: ["Max live registers"],
    spills: ["Spill Count", "Spills"],
    fills: ["Fill Count", "Fills"],
    scratch: ["Scratch Memory Size"],
    shared: ["Workgroup Memory Size"],
    instructions: ["Instruction Count", "Instructions"],
    cycles: ["Cycle Count", "Cycles"],
  },
  NVIDIA: {
    registers: ["Number of GPRs"],
    spills: ["Spills to memory"],
    fills: ["Fills from memory"],
    scratch: ["SLM size"],
    occupancy: ["Max warps/SM"],
    instructions: ["Instruction count"],
    cycles: ["Static cycle count"],
  },
  Apple: {
    registers: ["GPRs"],
    spills: ["Spills"],
    fills: ["Fills"],
    scratch: ["Scratch"],
    occupancy: ["Threads"],
    instructions: ["Instructions"],
  },
};

const OWN = ["subgroupSize", "workgroup", "compileMs"];

/** A kernel's numbers from a compiler's statistics. */
function numbersOf(family: FamilyName, all: Statistics, isa: string): Partial<Row> {
  const { maker, core } = familyOf(family);
  const { subgroupSize, workgroup, compileMs } = all;
  const row: Partial<Row> = { ...(subgroupSize ? { subgroupSize } : {}), ...(workgroup ? { workgroup } : {}), compileMs: compileMs ?? 0 };
  for (const [name, places] of Object.entries(NAMES[maker])) {
    const place = places.find((each) => each in all);
    if (place !== undefined) Object.assign(row, { [name]: all[place] });
  }
  if (core && workgroup && subgroupSize) {
    // By threads and workgroup memory alone: a core that runs nothing else.
    const threads = Math.ceil(workgroup / subgroupSize);
    const fit = Math.min(Math.floor(core.threads / threads), row.shared ? Math.floor(core.shared / row.shared) : Number.POSITIVE_INFINITY);
    row.occupancy = fit * threads;
  }
  row.statistics = Object.fromEntries(Object.entries(all).filter(([name]) => !OWN.includes(name)));
  if (isa) row.loops = loopsOf(maker, isa);
  return row;
}

export interface Compiled {
  /** As Dawn describes the adapter: driver and version. */
  adapter: string;
  rows: Row[];
  /** Machine code as text, for the rows of the same place; empty where a compiler gives none. */
  texts: string[];
  /** What tokens cost the CPU, where that was asked for. */
  tokens: TokenCost[];
  /** The kernel at which the compiler crashed, where it did not come to its end. */
  crashed?: string;
}

/** What the child process and the driver wrote. */
export function readRows(family: FamilyName, text: string): Compiled {
  const result: Compiled = { adapter: "", rows: [], texts: [], tokens: [] };
  const names = new Map<number, string>();
  const found: { id: number; row: Row; isa: string }[] = [];
  const fail = (id: number, why: string) => {
    const known = found.find((each) => each.id === id);
    if (known) known.row.failed = why;
    else found.push({ id, row: { family, kernel: names.get(id)!, usedBy: [], failed: why }, isa: "" });
  };
  let now: number | undefined;
  for (const each of text.split("\n")) {
    if (!each) continue;
    const line = JSON.parse(each) as Line;
    if ("kernel" in line) {
      now = line.id;
      names.set(now, line.kernel);
    } else if ("done" in line) {
      now = undefined;
      result.adapter = line.adapter;
      result.tokens = line.tokens ?? [];
      for (const { id, row } of found) row.usedBy = line.uses[id] ?? [];
    } else if ("error" in line) fail(line.id, line.error);
    else if (now === undefined || now < 0) continue;
    else if ("failed" in line) fail(now, `the driver says ${line.failed}`);
    else {
      const { isa = "", ...numbers } = line;
      found.push({ id: now, row: { family, kernel: names.get(now)!, usedBy: [], ...numbersOf(family, numbers as Statistics, isa) }, isa });
    }
  }
  if (now !== undefined) result.crashed = names.get(now) || "a kernel without a name";
  result.rows = found.map(({ row }) => row);
  result.texts = found.map(({ isa }) => isa);
  return result;
}
