import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { type Report, runCases } from "../../src/harness/report.ts";

const SEED = 1;

/** Runs the cases of the ops that are asked for, a test an op; what takes seconds (`size: "full"`) is for `internvl kernels test`. */
export function testOps(wanted: (op: string) => boolean): void {
  const cases = kernelCases(SEED).filter(({ op }) => wanted(op));
  const ops = [...new Set(cases.map(({ op }) => op))];
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openGpu();
  });
  afterAll(() => {
    expect(gpu.memory.entries()).toEqual([]); // whatever became of a case, nothing of it is left on the GPU
    gpu.close();
  });

  describe(`kernels against their float64 twins, random shapes from seed ${SEED}`, () => {
    it.each(ops)("%s", async (op) => {
      const small = cases.filter((test) => test.op === op && test.size !== "full");
      const left = cases.filter((test) => test.op === op).length - small.length;
      const report = await runCases(gpu, small, { seed: SEED });
      tell(op, report, left);
      expect(report.failures).toEqual([]);
      expect(report.passed).toBeGreaterThan(0);
    });
  });
}

/** What a green tick alone would not say. */
function tell(op: string, { adapter, passed, unsupported, lacking, ops }: Report, left: number): void {
  const { worstNmse, worstCase } = ops[op]!;
  const reasons = [...new Set(lacking.map(({ reason }) => reason))];
  console.log(
    `${op} on ${adapter}: ${passed} cases passed, worst NMSE ${worstNmse?.toExponential(1)} in ${worstCase}` +
      (unsupported ? `; ${unsupported} unsupported: ${reasons.join("; ")}` : "") +
      (left ? `; ${left} full-size cases left to "internvl kernels test"` : ""),
  );
}
