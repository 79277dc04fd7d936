import { describe, expect, inject, it } from "vitest";
import type { Gpu } from "../../../src/gpu/device.ts";
import { kernelCases } from "../../../src/harness/index.ts";
import { runCases } from "../../../src/harness/report.ts";
import { emulated, fragments, withMatrixUnits } from "../../kernels/emulated.ts";
import { useCleanGpu } from "../../shared/gpu.ts";

// No browser has subgroup matrices without a flag, and SwiftShader none at all: with emulated fragments, as in Node (test/kernels/matrix.test.ts).
const cases = kernelCases();
const gemms = cases.filter(({ size, params }) => params.variant === "gemm_subgroup_matrix" && params.weights === "bf16" && size !== "full");
const attention = cases.filter(
  ({ op, params: { variant, d } }) => op === "attention_vision" && variant === "flash_subgroup_matrix" && d === 32,
);

const CHEAPEST = fragments("f16", 8, 16, 16);

describe("kernels on matrix units with emulated fragments, in the page", () => {
  let gpu: Gpu;
  useCleanGpu((opened) => {
    gpu = opened;
  });

  const full = inject("full");

  it("of few rows", async (context) => {
    context.skip(!full, "npm run test:full");
    const few = cases.filter(
      ({ size, params }, i) => params.variant === "gemv_subgroup_matrix" && params.weights === "q4" && size !== "full" && i % 8 === 0,
    );
    const report = await runCases(withMatrixUnits(gpu, [fragments("f16", 16, 16, 16)], emulated, 32), few);
    expect(report.failures).toEqual([]);
    expect(report.passed).toBe(few.length);
    expect(few.length).toBeGreaterThan(3);
  });

  it.for([
    ["16 × 16 × 16", fragments("f16", 16, 16, 16)],
    ["8 × 16 × 16", CHEAPEST],
    ["8 × 8 × 16", fragments("f16", 8, 8, 16)],
    ["8 × 8 × 8", fragments("f32", 8, 8, 8)],
  ] as const)("of %s", async ([, config], context) => {
    context.skip(!full && config !== CHEAPEST, "SwiftShader compiles each for seconds, small fragments' for a minute: npm run test:full");
    const chosen = full ? [...gemms.filter((_, i) => i % 8 === 0), ...(config.M === 16 ? attention.slice(0, 8) : [])] : gemms.slice(0, 1);
    const report = await runCases(withMatrixUnits(gpu, [config]), chosen);
    expect(report.failures).toEqual([]);
    expect(report.passed).toBe(chosen.length);
  });
});
