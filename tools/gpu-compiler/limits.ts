import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HERE } from "./driver.ts";
import { type FamilyName, familyOf } from "./families.ts";
import { hotLoop, type Kind } from "./loops.ts";
import type { Row } from "./rows.ts";

/** What is held against a limit: numbers of a row, whether it failed, and shares (0 to 1) of its hot loop's instructions by kind. */
const MEASURES = ["failed", "spills", "scratch", "compileMs", "registers", "occupancy", "instructions", "shared"] as const;
export type Measure = (typeof MEASURES)[number] | `hot.${Kind}`;
type Bounds = Partial<Record<Measure, number>>;

/** What every kernel that it names must keep to, on the families that it names (all of both where it names none). */
interface Rule {
  /** A shader, alone or with parts that the kernel's name must have: `attention.flash(D=128)`. */
  kernel?: string;
  /** Families, or makers. */
  on?: string[];
  atMost?: Bounds;
  atLeast?: Bounds;
  why: string;
}

/** A fault that is known: these numbers may shrink, never grow. */
export interface Exception {
  kernel: string;
  why: string;
  /** By family. */
  numbers: Partial<Record<FamilyName, Bounds>>;
}

export interface Limits {
  rules: Rule[];
  exceptions: Exception[];
}

/** A number over its limit, or under it. */
export interface Shortfall {
  row: Row;
  measure: Measure;
  value: number;
  limit: number;
  atLeast: boolean;
  /** Set where it is known, and no worse than it was. */
  exception?: Exception;
}

export const LIMITS = join(HERE, "limits.json");
export const readLimits = (): Limits => JSON.parse(readFileSync(LIMITS, "utf8")) as Limits;

/** As the file is written: a line a rule and a family, so that changes of several people go together. */
export function formatLimits({ rules, exceptions }: Limits): string {
  const list = (items: readonly string[]) => (items.length ? `[\n${items.map((item) => `    ${item}`).join(",\n")}\n  ]` : "[]");
  const excuses = exceptions.map(({ kernel, why, numbers }) => {
    const families = Object.entries(numbers).map(([family, bounds]) => `        ${JSON.stringify(family)}: ${JSON.stringify(bounds)}`);
    return `{\n      "kernel": ${JSON.stringify(kernel)},\n      "why": ${JSON.stringify(why)},\n      "numbers": {\n${families.join(",\n")}\n      }\n    }`;
  });
  return `{\n  "rules": ${list(rules.map((rule) => JSON.stringify(rule)))},\n  "exceptions": ${list(excuses)}\n}\n`;
}

/** Whether a kernel is meant: the shader's name is equal, and every part in the brackets is one of the kernel's. */
export function isMeant(pattern: string, kernel: string): boolean {
  const split = (name: string) => /^([^(]*)(?:\((.*)\))?$/.exec(name)!.slice(1) as [string, string | undefined];
  const [shader, parts] = split(pattern);
  const [own, has = ""] = split(kernel);
  const all = has.split(",");
  return shader === own && (parts === undefined || parts.split(",").every((part) => all.includes(part)));
}

/** A row's number; undefined where its compiler does not tell it. */
export function measured(row: Row, measure: Measure): number | undefined {
  if (measure === "failed") return row.failed === undefined ? 0 : 1;
  if (!measure.startsWith("hot.")) return row[measure as Exclude<Measure, "failed" | `hot.${Kind}`>];
  const loop = row.loops && hotLoop(row.loops);
  return loop && (loop.mix[measure.slice(4) as Kind] ?? 0) / loop.instructions;
}

/** Compile time differs from run to run and from machine to machine: a recorded time may be exceeded by this factor. */
const SLACK: Partial<Record<Measure, number>> = { compileMs: 4 };

/** Everything in which rows fall short, known or not. */
export function shortfalls(rows: readonly Row[], { rules, exceptions }: Limits): Shortfall[] {
  const found: Shortfall[] = [];
  for (const row of rows) {
    const { maker } = familyOf(row.family);
    for (const { kernel, on, atMost = {}, atLeast = {} } of rules) {
      if (on && !on.includes(row.family) && !on.includes(maker)) continue;
      if (kernel !== undefined && !isMeant(kernel, row.kernel)) continue;
      for (const [bounds, least] of [
        [atMost, false],
        [atLeast, true],
      ] as const) {
        for (const [measure, limit] of Object.entries(bounds) as [Measure, number][]) {
          const value = measured(row, measure);
          if (value === undefined || (least ? value >= limit : value <= limit)) continue;
          const exception = exceptions.find((each) => {
            const known = isMeant(each.kernel, row.kernel) ? each.numbers[row.family]?.[measure] : undefined;
            return known !== undefined && (least ? value >= known : value <= known * (SLACK[measure] ?? 1));
          });
          found.push({ row, measure, value, limit, atLeast: least, ...(exception && { exception }) });
        }
      }
    }
  }
  return found;
}

/**
 * Exceptions as they would be with what was just compiled: numbers only shrink, and those that nothing needs any more go. Families that were not
 * compiled stay as they are.
 */
export function tightened(limits: Limits, rows: readonly Row[], families: readonly FamilyName[]): Exception[] {
  const short = shortfalls(rows, limits);
  return limits.exceptions.flatMap((exception) => {
    const numbers = { ...exception.numbers };
    for (const family of families) {
      const own = short.filter((each) => each.exception === exception && each.row.family === family);
      const now: Bounds = {};
      for (const [measure, was] of Object.entries(numbers[family] ?? {}) as [Measure, number][]) {
        const values = own.filter((each) => each.measure === measure);
        if (values.length === 0) continue;
        const worst = (values[0]!.atLeast ? Math.min : Math.max)(...values.map(({ value }) => value));
        now[measure] = values[0]!.atLeast ? Math.max(was, worst) : Math.min(was, worst);
      }
      if (Object.keys(now).length) numbers[family] = now;
      else delete numbers[family];
    }
    return Object.keys(numbers).length ? [{ ...exception, numbers }] : [];
  });
}
