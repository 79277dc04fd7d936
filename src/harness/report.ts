import type { Gpu } from "../gpu/device.ts";
import type { KernelCase } from "./case.ts";
import { type Outcome, runCase } from "./run.ts";

/** What an op's cases came to on one adapter. */
export interface OpReport {
  cases: number;
  passed: number;
  failed: number;
  unsupported: number;
  /** Over the cases that ran; undefined where none did. */
  worstNmse: number | undefined;
  worstCase: string | undefined;
}

/** What became of one case. */
export interface Result {
  name: string;
  op: string;
  outcome: Outcome;
}

/** What the cases came to on one adapter. */
export interface Report {
  adapter: string;
  passed: number;
  failed: number;
  unsupported: number;
  ops: Record<string, OpReport>;
  /** The cases that failed, and those that this adapter does not support. */
  failures: { name: string; reason: string }[];
  lacking: { name: string; reason: string }[];
}

/**
 * Runs cases one after the other; `each` hears of every one.
 *
 * @example
 * ```ts
 * const { passed, failed } = await runKernelCases(gpu, kernelCases().slice(0, 3), { each: ({ name, outcome }) => console.log(name, outcome.status) });
 * ```
 */
export async function runCases(
  gpu: Gpu,
  cases: readonly KernelCase[],
  options: { seed?: number | undefined; each?: (result: Result, done: number) => void } = {},
): Promise<Report> {
  const report: Report = { adapter: gpu.adapterName, passed: 0, failed: 0, unsupported: 0, ops: {}, failures: [], lacking: [] };
  for (const [i, test] of cases.entries()) {
    const { name, op } = test;
    const outcome = await runCase(gpu, test, options.seed);
    report[outcome.status]++;
    const line = (report.ops[op] ??= { cases: 0, passed: 0, failed: 0, unsupported: 0, worstNmse: undefined, worstCase: undefined });
    line.cases++;
    line[outcome.status]++;
    if (outcome.status === "unsupported") report.lacking.push({ name, reason: outcome.reason });
    else if (line.worstNmse === undefined || outcome.nmse > line.worstNmse) {
      line.worstNmse = outcome.nmse;
      line.worstCase = name;
    }
    if (outcome.status === "failed") report.failures.push({ name, reason: outcome.reason });
    options.each?.({ name, op, outcome }, i + 1);
  }
  return report;
}
