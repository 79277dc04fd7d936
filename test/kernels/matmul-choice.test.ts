import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { triesOf, variantsOf } from "../../src/ops/choose.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { type Activation, BYTES_PER_ELEMENT, type Matrix } from "../../src/tensor/tensor.ts";
import { useGpu } from "../shared/gpu.ts";
import { isQuick } from "../shared/quick.ts";

/** What each variant computes is the harness's business (matmul.test.ts). */
describe("the choice of matmul's variant", () => {
  let gpu: Gpu;
  const matrixOf = ({ memory }: Gpu, dtype: "f32" | "bf16" | "q8", side: number): Matrix => ({
    ...{ label: "w", shape: [side, side], dtype },
    parts: [
      {
        ...{ buffer: memory.create("w", side * side * BYTES_PER_ELEMENT[dtype]), rowStart: 0, rows: side },
        ...(dtype === "q8" ? { scales: memory.create("scales", (side * side) / 16) } : {}),
      },
    ],
  });
  useGpu((opened) => {
    gpu = opened;
  });

  it("is exact unless allowed, and refuses what the device or the shape does not have", async () => {
    expect(variantsOf(gpu, "matmul", { dtype: "q4", rows: 100 })).not.toContain("gemm_dot4");
    expect(variantsOf(gpu, "matmul", { dtype: "f32", rows: 100, precision: "fast" })).not.toContain("gemm_dot4");
    const matrix = matrixOf(gpu, "f32", 8);
    const input: Activation = { label: "x", rows: { base: 0, unit: 1 }, width: 8, buffer: gpu.memory.create("x", 8 * 4) };
    const record = (run: Parameters<Programs["record"]>[2]) => new Programs(gpu).record("bad", 1, run);
    await expect(record((p) => void matmul(p, input, matrix, { variant: "gemm_dot4" }))).rejects.toMatchObject({ code: "bad-input" });
    await expect(record((p) => void matmul(p, { ...input, width: 4 }, matrix))).rejects.toMatchObject({ code: "bad-input" });
    const tall = { ...input, rows: { base: 0, unit: 70000 }, buffer: gpu.memory.create("tall", 70000 * 8 * 4) };
    await expect(record((p) => void matmul(p, tall, matrix, { variant: "cpu_gemv_thread" }))).rejects.toMatchObject({
      code: "limit-exceeded",
    });
  });

  const tunings = [
    ["q8", 40],
    ["f32", 1],
    ["bf16", 16],
  ] as const; // the first is for panels, whose kernels take storage within storage
  it.each(isQuick ? tunings.slice(0, 1) : tunings)("tunes every kernel that the device has: %s, %s rows", async (dtype, rows) => {
    vi.stubEnv("XDG_CACHE_HOME", mkdtempSync(join(tmpdir(), "internvl-tuned-")));
    const tuned = await openGpu({ autotune: true });
    try {
      const matrix = matrixOf(tuned, dtype, 128);
      const x: Activation = { label: "x", rows: { base: 0, unit: 1 }, width: 128, buffer: tuned.memory.create("x", rows * 128 * 4) };
      await new Programs(tuned).record("tuned", rows, (p) => void matmul(p, x, matrix));
      expect(Object.keys(tuned.tuning.toJSON())).toHaveLength(1);
      expect(tuned.memory.entries().filter(({ label }) => label.startsWith("tuning"))).toEqual([]);
    } finally {
      tuned.close();
      rmSync(process.env.XDG_CACHE_HOME!, { recursive: true });
      vi.unstubAllEnvs();
    }
  });

  it("tunes when asked, and tells what it chose", async () => {
    const folder = mkdtempSync(join(tmpdir(), "internvl-tuned-"));
    vi.stubEnv("XDG_CACHE_HOME", folder);
    const tuned = await openGpu({ autotune: true });
    try {
      const matrix = matrixOf(tuned, "bf16", 64);
      const buffer = tuned.memory.create("x", 64 * 4);
      const held = tuned.memory.entries().length;
      const programs = new Programs(tuned);
      let recorded = 0;
      const program = await programs.record("tuned", 1, (p) => {
        recorded++;
        matmul(p, { label: "x", rows: { base: 1, unit: 0 }, width: 64, buffer }, matrix);
      });
      expect(recorded).toBe(2); // once to learn the shapes, once with the choice
      const [choice] = Object.entries(tuned.tuning.toJSON());
      expect(choice![0]).toBe("matmul(m=1,n~2^6,k~2^6,weights=bf16,precision=exact)");
      expect(triesOf(tuned, "matmul", { dtype: "bf16", rows: 1 })).toContain(choice![1]);
      program.dispose();
      const again = await openGpu({ autotune: true });
      expect(again.tuning.toJSON()).toEqual(tuned.tuning.toJSON());
      again.close();
      // The program's params are gone; what stays is the step and the arena of `programs`.
      expect(tuned.memory.entries().length).toBeLessThanOrEqual(held + 2);
    } finally {
      tuned.close();
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    }
    expect(gpu.tuning.toJSON()).toEqual({});
  });
});
