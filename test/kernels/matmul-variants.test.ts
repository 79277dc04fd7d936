import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { type MatrixData, Noise, randomMatrix, uploadMatrix } from "../../src/harness/bench-data.ts";
import { gatedMatmul, type MatmulPrecision, type MatmulVariant, matmul, matmulVariants } from "../../src/ops/matmul.ts";
import { MATMUL_VARIANTS } from "../../src/ops/matmul-variants.ts";
import type { Activation, Matrix, MatrixDtype, Vector } from "../../src/tensor/tensor.ts";

/** Relative L2 error of a product with inputs in [-1, 1]. */
const BOUND: Readonly<Record<MatmulPrecision, number>> = { f32: 2e-6, f16: 1e-3, q8: 1.5e-2 };
const GUARD = 1024; // elements around y that must stay as they are
const POISON = Number.NaN;

interface Epilogue {
  bias?: boolean;
  gelu?: boolean;
  scale?: boolean;
  residual?: boolean;
  gated?: boolean;
}

const FULL: Epilogue = { bias: true, gelu: true, scale: true, residual: true };
const SHARED: readonly MatmulVariant[] = ["block", "lanes", "tiled", "wide", "half", "matrix", "packed"];

const erf = (x: number): number => {
  // Maclaurin series; |x| < 4 here needs fewer than 80 terms.
  let term = x;
  let sum = x;
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return Math.abs(x) > 5 ? Math.sign(x) : (2 / Math.sqrt(Math.PI)) * sum;
};

describe("matmul", () => {
  let gpu: Gpu;
  const noise = new Noise(7);
  beforeAll(async () => {
    gpu = await openGpu();
  });
  afterAll(() => gpu.close());

  function vector(label: string, data: Float32Array<ArrayBuffer>): Vector {
    const buffer = gpu.memory.create(label, data.byteLength);
    gpu.memory.write(buffer, 0, data);
    return { label, length: data.length, buffer };
  }

  /** Computes a product into guarded memory and compares it with a float64 loop. Returns the relative L2 error. */
  async function errorOf(
    m: number,
    w: MatrixData,
    matrix: Matrix,
    e: Epilogue,
    precision: MatmulPrecision,
    variant?: MatmulVariant,
  ): Promise<number> {
    const [n, k] = matrix.shape;
    const width = e.gated ? n / 2 : n;
    // Small enough that GELU's curve and SiLU's matter.
    const x = noise.values(m * k, 2 / Math.sqrt(k));
    const bias = noise.values(n);
    const scale = noise.values(n);
    const old = noise.values(m * width);
    const input: Activation = { label: "x", rows: { base: 0, unit: 1 }, width: k, buffer: vector("x", x).buffer };
    const poisoned = new Float32Array(m * width + 2 * GUARD).fill(POISON);
    if (e.residual) poisoned.set(old, GUARD);
    const memory = vector("y", poisoned).buffer as GPUBuffer;
    const y: Activation = { ...input, label: "y", width, buffer: { buffer: memory, offset: GUARD * 4, size: m * width * 4 } };
    const program = await new Programs(gpu).record("test", m, (p) => {
      const options = {
        bias: e.bias ? vector("bias", bias) : undefined,
        scale: e.scale ? vector("scale", scale) : undefined,
        gelu: e.gelu ?? false,
        into: e.residual ? y : undefined,
        precision,
        variant,
      };
      if (!e.gated) {
        matmul(p, input, matrix, e.residual ? options : { ...options, out: y });
        return;
      }
      const out = gatedMatmul(p, input, matrix, { precision, variant });
      p.copy({ from: out.buffer, to: y.buffer, range: () => ({ fromOffset: 0, toOffset: 0, bytes: m * width * 4 }) });
    });
    program.run({ units: m, start: 0 });
    const all = new Float32Array(await gpu.memory.read(memory, 0, poisoned.byteLength));
    program.dispose();
    expect(all.subarray(0, GUARD).every(Number.isNaN) && all.subarray(GUARD + m * width).every(Number.isNaN)).toBe(true);

    const product = (row: number, column: number) => {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i]! * w.value(column, i);
      return sum;
    };
    let difference = 0;
    let size = 0;
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < width; column++) {
        let v = product(row, column);
        if (e.gated) v = (v / (1 + Math.exp(-v))) * product(row, column + width);
        if (e.bias) v += bias[column]!;
        if (e.gelu) v *= 0.5 * (1 + erf(v * Math.SQRT1_2));
        if (e.scale) v *= scale[column]!;
        if (e.residual) v += old[row * width + column]!;
        difference += (all[GUARD + row * width + column]! - v) ** 2;
        size += v * v;
      }
    }
    return Math.sqrt(difference / size);
  }

  /** Weights between about -1 and 1. */
  function weights(dtype: MatrixDtype, n: number, k: number): [MatrixData, Matrix] {
    const data = randomMatrix(noise, dtype, n, k);
    return [data, uploadMatrix(gpu.memory, "w", data)];
  }

  const precisionOf = (variant: MatmulVariant): MatmulPrecision =>
    variant === "packed" ? "q8" : variant === "half" || variant === "matrix" ? "f16" : "f32";

  async function checkVariants(dtype: MatrixDtype, variants: readonly MatmulVariant[]): Promise<void> {
    const quantized = dtype === "q8" || dtype === "q4";
    // Two tiles of 128 in both directions, the second nearly empty; K that fills no slice (q8, q4: of whole groups).
    const [w, matrix] = weights(dtype, 131, quantized ? 128 : 68);
    for (const variant of variants) {
      const error = await errorOf(SHARED.includes(variant) ? 130 : 3, w, matrix, FULL, precisionOf(variant), variant);
      expect(error, `${variant} ${dtype}`).toBeLessThan(BOUND[precisionOf(variant)]);
    }
  }

  it.for(MATMUL_VARIANTS)("variant %s is right", async (variant, { skip }) => {
    const dtype = (["bf16", "q8"] as const).find((each) => matmulVariants(gpu, each, 3, "q8").includes(variant));
    if (!dtype) skip(`${gpu.adapterName} has no matmul variant "${variant}": unsupported there, not tested`);
    else await checkVariants(dtype, [variant]);
  });

  // The variants whose code depends on the format most, and the defaults; the harness's grid has all of them.
  it.each(["f32", "f16", "q8", "q4"] as const)("%s weights are right", async (dtype) => {
    await checkVariants(
      dtype,
      matmulVariants(gpu, dtype, 3, "q8").filter((variant) => ["subgroup", "lanes", "packed"].includes(variant)),
    );
  });

  it("is right with each epilogue, on random shapes", async () => {
    const dtype = "bf16";
    const epilogues: Epilogue[] = [{}, { bias: true, gelu: true }, { scale: true }, { residual: true }];
    for (const epilogue of epilogues) {
      for (const m of [1, 9 + noise.below(60)]) {
        const [w, matrix] = weights(dtype, 1 + noise.below(150), 4 * (1 + noise.below(40)));
        const error = await errorOf(m, w, matrix, epilogue, "f32");
        expect(error, `m=${m} ${matrix.shape} ${JSON.stringify(epilogue)}`).toBeLessThan(BOUND.f32);
      }
    }
  });

  it("gates in every variant, and where w is split over buffers", async () => {
    const [narrow, narrowMatrix] = weights("bf16", 88, 64);
    for (const variant of matmulVariants(gpu, "bf16", 5, "q8")) {
      const bound = BOUND[precisionOf(variant)] * 2; // two products
      expect(await errorOf(5, narrow, narrowMatrix, { gated: true }, precisionOf(variant), variant), variant).toBeLessThan(bound);
    }
    const [w, matrix] = weights("f32", 88, 64);
    const parts = [0, 30, 75, 88].slice(0, -1).map((rowStart, i) => {
      const rows = [30, 45, 13][i]!;
      const buffer = gpu.memory.create("part", rows * 64 * 4);
      gpu.memory.write(buffer, 0, w.bytes.subarray(rowStart * 256, (rowStart + rows) * 256));
      return { buffer, rowStart, rows };
    });
    expect(await errorOf(5, w, { ...matrix, parts }, { gated: true }, "f32")).toBeLessThan(2 * BOUND.f32);
    expect(await errorOf(5, w, { ...matrix, parts }, { bias: true }, "f32")).toBeLessThan(BOUND.f32);
  });

  it("keeps to f32 unless allowed, and refuses what the device or the shape does not have", async () => {
    expect(matmulVariants(gpu, "bf16", 100)).not.toEqual(expect.arrayContaining(["half"]));
    expect(matmulVariants(gpu, "f32", 100, "q8")).not.toContain("packed");
    const [, matrix] = weights("f32", 8, 8);
    const input: Activation = { label: "x", rows: { base: 0, unit: 1 }, width: 8, buffer: vector("x", new Float32Array(8)).buffer };
    const record = (run: Parameters<Programs["record"]>[2]) => new Programs(gpu).record("bad", 1, run);
    await expect(record((p) => void matmul(p, input, matrix, { variant: "packed" }))).rejects.toMatchObject({ code: "bad-input" });
    await expect(record((p) => void matmul(p, { ...input, width: 4 }, matrix))).rejects.toMatchObject({ code: "bad-input" });
    const tall = { ...input, rows: { base: 0, unit: 70000 }, buffer: vector("tall", new Float32Array(70000 * 8)).buffer };
    await expect(record((p) => void matmul(p, tall, matrix, { variant: "thread" }))).rejects.toMatchObject({ code: "limit-exceeded" });
  });

  it("tunes when asked, and tells what it chose", async () => {
    const tuned = await openGpu({ autotune: true });
    try {
      const matrix = uploadMatrix(tuned.memory, "w", randomMatrix(noise, "bf16", 64, 64));
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
      expect(choice![0]).toBe("matmul(m=1,n~2^6,k~2^6,weights=bf16,precision=f32)");
      expect(matmulVariants(tuned, "bf16", 1)).toContain(choice![1]);
      program.dispose();
      // The program's params are gone; what stays is the step and the arena of `programs`.
      expect(tuned.memory.entries().length).toBeLessThanOrEqual(held + 2);
    } finally {
      tuned.close();
    }
    expect(gpu.tuning.toJSON()).toEqual({});
  });
});
