import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import type { KernelCase } from "../../src/harness/case.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { type OpReport, type Report, runCases } from "../../src/harness/report.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";

const SEED = 1;
const CHUNK = 60; // cases of a test: none may come near the time limit, on the slowest adapter either

/** What is left out unless everything runs (`npm run test:full`, `internvl kernels test`): what takes a CPU adapter seconds. */
const isFull = ({ size }: KernelCase): boolean => size === "full";

const EACH = 6; // of a kind at least, and a quarter of many

/** What a case is of, its sizes and numbers apart. */
const kindOf = ({ op, params }: KernelCase): string =>
  [op, ...Object.entries(params).map(([key, value]) => (key === "d" || typeof value === "string" ? `${key}=${value}` : key))].join();

/** Of the cases of a kind the ordinary run on SwiftShader has some, evenly over their list. */
function someOf(cases: readonly KernelCase[]): readonly KernelCase[] {
  if (!isQuick) return cases;
  const count = new Map<string, number>();
  for (const test of cases) count.set(kindOf(test), (count.get(kindOf(test)) ?? 0) + 1);
  const at = new Map<string, number>();
  return cases.filter((test) => {
    const kind = kindOf(test);
    const i = at.get(kind) ?? 0;
    at.set(kind, i + 1);
    return i % Math.min(4, Math.ceil(count.get(kind)! / EACH)) === 0;
  });
}

/** Cases by what they compile, since that is what takes time; no chunk has too many. */
function chunksOf(cases: readonly KernelCase[]): { name: string; chunk: KernelCase[] }[] {
  const groups = new Map<string, KernelCase[]>();
  for (const test of cases) {
    const { variant, weights, d } = test.params;
    const name = [test.op, variant, d && `d=${d}`, ...(inject("full") ? [weights] : [])].filter((part) => part !== undefined).join(" ");
    const group = groups.get(name);
    if (group) group.push(test);
    else groups.set(name, [test]);
  }
  return [...groups].flatMap(([name, group]) => {
    const count = Math.ceil(group.length / CHUNK);
    return Array.from({ length: count }, (_, i) => ({
      name: count > 1 ? `${name}, ${i + 1} of ${count}` : name,
      chunk: group.slice(i * CHUNK, (i + 1) * CHUNK),
    }));
  });
}

/** What an op took, beside what became of its cases. */
interface Cost {
  cpuSeconds: number;
  pipelines: number;
}

/** Runs the cases of the ops that are asked for; in the ordinary run those that are cheap. */
export function testOps(wanted: (op: string) => boolean): void {
  const all = kernelCases(SEED).filter(({ op }) => wanted(op));
  const chosen = someOf(all.filter((test) => inject("full") || !isFull(test)));
  const reports: (Report & Cost)[] = [];
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openGpu();
  });
  afterAll(() => {
    tell(all, reports);
    expect(gpu.memory.entries()).toEqual([]); // whatever became of a case, nothing of it is left on the GPU
    gpu.close();
  });

  describe(`kernels against their float64 twins, random shapes from seed ${SEED}`, () => {
    it.each(chunksOf(chosen))("$name", async ({ chunk }) => {
      const compiled = gpu.kernels.count;
      const before = process.cpuUsage();
      const report = await runCases(gpu, chunk, { seed: SEED });
      const { user, system } = process.cpuUsage(before);
      reports.push({ ...report, cpuSeconds: (user + system) / 1e6, pipelines: gpu.kernels.count - compiled });
      expect(report.failures).toEqual([]);
      expect(report.passed + report.unsupported).toBe(chunk.length);
    });

    it("every op has cases that this adapter ran", () => {
      const ran = reports.flatMap(({ ops }) => Object.keys(ops).filter((op) => ops[op]!.passed > 0));
      expect(new Set(ran)).toEqual(new Set(reports.flatMap(({ ops }) => Object.keys(ops))));
    });
  });
}

/** What green ticks alone would not say: a line an op, and how much of the whole this was. */
function tell(all: readonly KernelCase[], reports: readonly (Report & Cost)[]): void {
  const lines: string[] = [];
  let ran = 0;
  for (const op of new Set(all.map((test) => test.op))) {
    const own = reports.filter(({ ops }) => ops[op]);
    if (!own.length) continue; // a filter on the command line
    const sum = (value: (report: Report & Cost, line: OpReport) => number) => own.reduce((total, r) => total + value(r, r.ops[op]!), 0);
    const cases = sum((_, line) => line.cases);
    ran += cases;
    const left = all.filter((test) => test.op === op).length - cases;
    const worst = own.map(({ ops }) => ops[op]!).reduce((a, b) => ((b.worstNmse ?? -1) > (a.worstNmse ?? -1) ? b : a));
    const unsupported = sum((_, line) => line.unsupported);
    const reasons = [...new Set(own.flatMap(({ lacking }) => lacking.map(({ reason }) => reason)))];
    lines.push(
      `${op}: ${sum((_, line) => line.passed)} cases passed, worst NMSE ${worst.worstNmse?.toExponential(1)} in ${worst.worstCase}; ` +
        `${sum((r) => r.cpuSeconds).toFixed(1)} s of CPU, ${sum((r) => r.pipelines)} pipelines` +
        (unsupported ? `; ${unsupported} unsupported: ${reasons.join("; ")}` : "") +
        (left ? `; ${left} left out` : ""),
    );
  }
  const elsewhere = `${isQuick ? `other sizes ${ELSEWHERE}; ` : ""}large ones with npm run test:full, internvl kernels test`;
  const rest = ran < all.length ? ` (the rest: ${elsewhere})` : "";
  console.log(`${reports[0]?.adapter}: ${ran} of ${all.length} cases ran${rest}\n${lines.join("\n")}`);
}
