import { describe, expect, inject, it } from "vitest";
import type { Gpu } from "../../../src/gpu/device.ts";
import type { KernelCase } from "../../../src/harness/case.ts";
import { kernelCases } from "../../../src/harness/index.ts";
import { runCases } from "../../../src/harness/report.ts";
import { useCleanGpu } from "../../shared/gpu.ts";

const SEED = 1;
const EACH = 3; // cases of an op, evenly over its list; Node's tests run them all

const all = kernelCases(SEED).filter(({ size }) => size !== "full");
const ops = [...new Set(all.map(({ op }) => op))];

function someOf(cases: readonly KernelCase[]): readonly KernelCase[] {
  if (inject("full") || cases.length <= EACH) return cases;
  return Array.from({ length: EACH }, (_, i) => cases[Math.floor(((i + 0.5) * cases.length) / EACH)]!);
}

const CHUNK = 60; // cases of a test: none may come near the time limit

const chosen = ops.flatMap((op) => {
  const cases = someOf(all.filter((test) => test.op === op));
  const chunks = Array.from({ length: Math.ceil(cases.length / CHUNK) }, (_, i) => cases.slice(i * CHUNK, (i + 1) * CHUNK));
  return chunks.map((chunk, i) => ({ name: chunks.length > 1 ? `${op}, ${i + 1} of ${chunks.length}` : op, chunk }));
});
const count = chosen.reduce((sum, { chunk }) => sum + chunk.length, 0);

describe(`kernels in the page: ${count} of ${all.length} cases${inject("full") ? "" : ", test:full runs all"}`, () => {
  const ran = new Set<string>();
  let gpu: Gpu;
  useCleanGpu((opened) => {
    gpu = opened;
  });

  it.each(chosen)("$name", async ({ chunk }) => {
    const report = await runCases(gpu, chunk, { seed: SEED });
    expect(report.failures).toEqual([]);
    expect(report.passed + report.unsupported).toBe(chunk.length);
    for (const [op, { passed }] of Object.entries(report.ops)) if (passed > 0) ran.add(op);
  });

  it("every op has cases that this adapter ran", () => expect(ran).toEqual(new Set(ops)));
});
