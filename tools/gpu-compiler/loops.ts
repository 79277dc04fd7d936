import type { Maker } from "./families.ts";
import { amdLoops } from "./isa-amd.ts";
import { intelLoops } from "./isa-intel.ts";
import { nvidiaLoops } from "./isa-nvidia.ts";

/** What an instruction is for. */
export type Kind =
  | "fma"
  | "matrix"
  | "dot4"
  | "float" // other arithmetic of floats
  | "int" // integers, addresses, bits
  | "scalar" // AMD's scalar unit
  | "convert"
  | "special" // exp, log, sqrt, 1/x
  | "select" // compare, choose, minimum
  | "move"
  | "shuffle" // between lanes
  | "memory"
  | "shared" // workgroup memory
  | "constant" // loads of AMD's scalar unit
  | "scratch" // spilled values
  | "wait"
  | "barrier"
  | "branch"
  | "hint"; // what only tells the scheduler something

/** A loop of a kernel's machine code, with those inside it. */
export interface Loop {
  /** Whether no other loop is inside. */
  innermost: boolean;
  instructions: number;
  /** How many of them are two of these: AMD's v_dual_…, which one instruction issues. */
  pairs?: number;
  mix: Partial<Record<Kind, number>>;
  /** Loads, stores and matrix instructions by name and width. */
  wide: Record<string, number>;
}

/** Counts instructions while a loop's lines are read. */
export function tally(innermost: boolean, instructions: Iterable<{ kind: Kind; wide?: string | undefined }>): Loop {
  const loop: Loop = { innermost, instructions: 0, mix: {}, wide: {} };
  for (const { kind, wide } of instructions) {
    loop.instructions++;
    loop.mix[kind] = (loop.mix[kind] ?? 0) + 1;
    if (wide !== undefined) loop.wide[wide] = (loop.wide[wide] ?? 0) + 1;
  }
  return loop;
}

/** The loops of a kernel's machine code; undefined where the compiler has given none: Apple's. */
export function loopsOf(maker: Maker, isa: string): Loop[] | undefined {
  switch (maker) {
    case "AMD":
      return amdLoops(isa);
    case "Intel":
      return intelLoops(isa);
    case "NVIDIA":
      return nvidiaLoops(isa);
    case "Apple":
      return undefined;
    default:
      return maker satisfies never;
  }
}

const LEAST = 12; // instructions of a loop that is worth showing
/** Multiply-adds of a lane, about: those of a matrix instruction are some hundred. */
const work = ({ mix }: Loop): number => 100 * (mix.matrix ?? 0) + 4 * (mix.dot4 ?? 0) + (mix.fma ?? 0);

/** The loop in which the arithmetic is done: of the innermost ones that with the most multiply-adds, else with the most instructions. */
export function hotLoop(loops: readonly Loop[]): Loop | undefined {
  const inner = loops.filter(({ innermost, instructions }) => innermost && instructions >= LEAST);
  return inner.sort((a, b) => work(b) - work(a) || b.instructions - a.instructions)[0];
}
