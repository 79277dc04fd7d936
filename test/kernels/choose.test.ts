import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { choose, triesOf, VARIANTS, variantsOf } from "../../src/ops/choose.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";

const DEFAULTS = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384, maxStorageBuffersPerShaderStage: 8 };
const MATRIX = "chromium-experimental-subgroup-matrix";

interface Adapter {
  kind: Gpu["kind"];
  features?: readonly string[];
  limits?: Partial<typeof DEFAULTS>;
  subgroups?: readonly [number, number];
}

/** As much of a device as choosing looks at. */
function adapter({ kind, features = [], limits, subgroups: [subgroupMinSize, subgroupMaxSize] = [4, 128] }: Adapter): Gpu {
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const subgroupMatrixConfigs = features.includes(MATRIX) ? [config] : [];
  return {
    kind,
    matrixSyntax: features.includes(MATRIX) ? "typed" : undefined,
    device: {
      features: new Set(features),
      limits: { ...DEFAULTS, ...limits },
      adapterInfo: { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs },
    },
  } as unknown as Gpu;
}

const plainGpu = adapter({ kind: "gpu" });
const amd = adapter({ kind: "gpu", features: ["shader-f16", "subgroups"], subgroups: [32, 64] });
const nvidia = adapter({ kind: "gpu", features: ["shader-f16", "subgroups", MATRIX], subgroups: [32, 32] });
const lavapipe = adapter({ kind: "cpu", features: ["shader-f16", "subgroups"], subgroups: [8, 8] });
const swiftShader = adapter({ kind: "cpu", features: ["subgroups"], subgroups: [4, 4] });
const plainCpu = adapter({ kind: "cpu" });
const ALL = { plainGpu, amd, nvidia, lavapipe, swiftShader, plainCpu };

const FORMATS: readonly MatrixDtype[] = ["f32", "f16", "bf16", "q8", "q4"];
const best = (gpu: Gpu, dtype: MatrixDtype, rows: number, precision: "f32" | "f16" | "q8" = "f32") =>
  triesOf(gpu, "matmul", { dtype, rows, precision, width: 896 })[0];

describe("the tables of what is tried", () => {
  // What only CPU adapters run is there once such an adapter was opened: this machine's.
  let real: Gpu;
  beforeAll(async () => {
    real = await openGpu();
  });
  afterAll(() => real.close());

  it.each(Object.entries(ALL))("%s has something for every op, format, precision and number of rows", (_, gpu) => {
    for (const dtype of FORMATS)
      for (const precision of ["f32", "f16", "q8"] as const)
        for (const rows of [1, 2, 3, 4, 5, 7, 8, 9, 23, 24, 64, 65, 512, 4100]) {
          const tries = triesOf(gpu, "matmul", { dtype, rows, precision, width: 896 });
          expect(tries.length).toBeGreaterThan(0);
          expect(variantsOf(gpu, "matmul", { dtype, rows, precision, width: 896 })).toEqual(expect.arrayContaining(tries));
          expect(new Set(tries).size).toBe(tries.length);
        }
    for (const op of ["attention", "decode"] as const)
      for (const width of [4, 20, 64, 128]) expect(triesOf(gpu, op, { width }).length).toBeGreaterThan(0);
    for (const op of ["norm", "qkNorm"] as const)
      for (const rows of [1, 7, 8, 1025])
        for (const width of [4, 896, 1024, 2048]) expect(triesOf(gpu, op, { rows, width }).length).toBeGreaterThan(0);
  });

  it("a GPU gets subgroups for few rows, tiles for many, matrix units where f16 is allowed", () => {
    for (const dtype of FORMATS) {
      for (const rows of [1, 2, 8]) {
        expect(best(plainGpu, dtype, rows)).toBe("vector");
        expect(best(amd, dtype, rows)).toBe("subgroup");
      }
      expect([64, 65].map((rows) => best(amd, dtype, rows))).toEqual(["tiled", "wide"]);
      expect([64, 65].map((rows) => best(amd, dtype, rows, "f16"))).toEqual(["tiled", "half"]);
      expect([64, 65].map((rows) => best(nvidia, dtype, rows, "f16"))).toEqual(["matrix", "matrix"]);
      expect(best(nvidia, dtype, 512)).toBe("wide");
    }
    expect(["q4", "q8", "bf16"].map((dtype) => best(amd, dtype as MatrixDtype, 512, "q8"))).toEqual(["packed", "packed", "half"]);
    expect(triesOf(amd, "norm", { rows: 100, width: 896 })[0]).toBe("subgroups");
    expect(triesOf(plainGpu, "norm", { rows: 100, width: 896 })[0]).toBe("row");
  });

  it("a GPU with less than the defaults still has every op", () => {
    const small = adapter({ kind: "gpu", limits: { maxComputeInvocationsPerWorkgroup: 128, maxComputeWorkgroupStorageSize: 8192 } });
    for (const rows of [1, 8, 64, 512]) expect(best(small, "bf16", rows)).toBe("vector");
  });

  it("no GPU gets what is for CPU adapters", () => {
    const cpuOnly = new Set<string>(["thread", "columns", "shared", "rows", "block", "lanes", "panels"]);
    for (const gpu of [plainGpu, amd, nvidia, adapter({ kind: "gpu", features: ["subgroups"], subgroups: [8, 8] })]) {
      for (const dtype of FORMATS)
        expect(variantsOf(gpu, "matmul", { dtype, precision: "q8" }).filter((each) => cpuOnly.has(each))).toEqual([]);
      expect(variantsOf(gpu, "attention")).toEqual(["flash"]);
      expect(variantsOf(gpu, "decode")).toEqual(["split"]);
      expect(variantsOf(gpu, "norm")).not.toEqual(expect.arrayContaining(["thread"]));
    }
  });

  it("a CPU adapter decodes 1 to 8 rows by what was the fastest there", () => {
    const rows = [1, 2, 3, 4, 5, 6, 7, 8];
    for (const dtype of ["q8", "q4"] as const) {
      expect(rows.map((m) => best(lavapipe, dtype, m))).toEqual(["columns", ...rows.slice(1).map(() => "shared")]);
      expect(rows.map((m) => best(swiftShader, dtype, m))).toEqual(rows.map(() => "columns"));
    }
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      const few = [...Array(4).fill("subgroup"), ...Array(4).fill("rows")];
      for (const gpu of [lavapipe, swiftShader]) expect(rows.map((m) => best(gpu, dtype, m))).toEqual(few);
      expect(rows.map((m) => best(plainCpu, dtype, m))).toEqual(rows.map(() => "thread"));
    }
    expect(triesOf(lavapipe, "decode", { width: 64 })).toEqual(["octs", "split"]);
    expect(triesOf(lavapipe, "decode", { width: 20 })).toEqual(["split"]);
    expect(triesOf(swiftShader, "decode", { width: 64 })).toEqual(["lanes", "split"]);
    expect(triesOf(plainCpu, "decode", { width: 64 })).toEqual(["split"]);
  });

  it("names every kernel that there is, and each runs somewhere", () => {
    const adapters = [...Object.values(ALL), real];
    for (const dtype of ["bf16", "q4"] as const) {
      const found = new Set(adapters.flatMap((gpu) => variantsOf(gpu, "matmul", { dtype, precision: "q8" })));
      const quantizedOnly = ["columns", "shared", "packed"];
      // Texture storage is asked of a real device, and only lavapipe's subgroups are large enough.
      const missing = VARIANTS.matmul.filter((each) => !found.has(each) && each !== "panels");
      expect(missing).toEqual(dtype === "q4" ? [] : VARIANTS.matmul.filter((each) => quantizedOnly.includes(each)));
    }
  });

  it("takes the variant that is wanted, and says which there are where there is none of it", () => {
    const shape = { dtype: "bf16", rows: 3, width: 896 } as const;
    expect(choose(lavapipe, "matmul", "matmul w", shape, "vector")).toBe(choose(amd, "matmul", "matmul w", shape, "vector"));
    expect(() => choose(amd, "matmul", "matmul w", shape, "columns")).toThrow(
      "matmul w: variant columns does not run on this adapter with bf16 weights; it has vector, subgroup, tiled, wide",
    );
    expect(() => choose(plainGpu, "decode", "decode", { width: 20 }, "octs")).toThrow(
      "decode: variant octs does not run on this adapter; it has split",
    );
  });
});
