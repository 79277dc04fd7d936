import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { subgroupsOf } from "../../src/gpu/subgroups.ts";
import { bringMatrixKernels, choose, triesOf, VARIANTS, variantsOf } from "../../src/ops/choose.ts";
import * as cpu from "../../src/ops/cpu/index.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";

const DEFAULTS = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384, maxStorageBuffersPerShaderStage: 8 };
const MATRIX = "chromium-experimental-subgroup-matrix";

interface Adapter {
  kind: Gpu["kind"];
  features?: readonly string[];
  limits?: Partial<typeof DEFAULTS>;
  subgroups?: readonly [number, number];
  /** Of Intel's: the others' matrix units are taken as they are listed. */
  architecture?: string;
  fragments?: readonly [M: number, N: number, K: number];
}

/** As much of a device as choosing looks at. */
function adapter({
  kind,
  features = [],
  limits,
  subgroups: [subgroupMinSize, subgroupMaxSize] = [4, 128],
  architecture = "",
  fragments: [M, N, K] = [16, 16, 16],
}: Adapter): Gpu {
  const subgroupMatrixConfigs = features.includes(MATRIX) ? [{ componentType: "f16", resultComponentType: "f32", M, N, K }] : [];
  const info = { vendor: architecture && "intel", architecture, subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs };
  return {
    kind,
    subgroups: subgroupsOf(new Set(features), info),
    matrixSyntax: features.includes(MATRIX) ? "typed" : undefined,
    device: {
      features: new Set(features),
      limits: { ...DEFAULTS, ...limits },
    },
  } as unknown as Gpu;
}

const plainGpu = adapter({ kind: "gpu" });
const amd = adapter({ kind: "gpu", features: ["shader-f16", "subgroups"], subgroups: [32, 64] });
const LARGE = { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49152 };
const WITH_UNITS = ["shader-f16", "subgroups", "subgroup-size-control", MATRIX];
const nvidia = adapter({ kind: "gpu", features: WITH_UNITS, subgroups: [32, 32], limits: LARGE });
const intel = { kind: "gpu", features: WITH_UNITS, subgroups: [8, 32], fragments: [8, 8, 16], limits: LARGE } as const;
const arc = adapter({ ...intel, architecture: "gen-12hp" });
const iris = adapter({ ...intel, architecture: "gen-12lp" }); // lists arc's fragments, and has no units
const lavapipe = adapter({ kind: "cpu", features: ["shader-f16", "subgroups"], subgroups: [8, 8] });
const swiftShader = adapter({ kind: "cpu", features: ["subgroups"], subgroups: [4, 4] });
const plainCpu = adapter({ kind: "cpu" });
const ALL = { plainGpu, amd, nvidia, arc, iris, lavapipe, swiftShader, plainCpu };

const FORMATS: readonly MatrixDtype[] = ["f32", "f16", "bf16", "q8", "q4"];
const best = (gpu: Gpu, dtype: MatrixDtype, rows: number, precision: Precision = "exact", bounded = false) =>
  triesOf(gpu, "matmul", { dtype, rows, precision, bounded, width: 896 })[0];

describe("the tables of what is tried", () => {
  // What only CPU adapters run is there once such an adapter was opened: this machine's. It has no matrix units.
  let real: Gpu;
  beforeAll(async () => {
    real = await openGpu();
    await bringMatrixKernels();
  });
  afterAll(() => real.close());

  it.each(Object.entries(ALL))("%s has something for every op, format, precision and number of rows", (_, gpu) => {
    for (const dtype of FORMATS)
      for (const precision of ["exact", "auto", "fast"] as const)
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

  it("a GPU gets subgroups for few rows, matrix units for many where it has any, else tiles", () => {
    for (const dtype of FORMATS) {
      for (const rows of [1, 2, 8]) {
        expect(best(plainGpu, dtype, rows)).toBe("gemv_workgroup");
        expect(best(amd, dtype, rows)).toBe("gemv_subgroup");
      }
      for (const rows of [9, 512]) {
        expect(best(plainGpu, dtype, rows)).toBe("gemm_tile");
        expect(best(amd, dtype, rows)).toBe("gemm_tile"); // one without matrix units
        for (const precision of ["exact", "auto", "fast"] as const)
          for (const bounded of [true, false]) expect(best(nvidia, dtype, rows, precision, bounded)).toBe("gemm_subgroup_matrix");
      }
      const quantized = dtype === "q8" || dtype === "q4";
      expect(best(amd, dtype, 512, "fast")).toBe(quantized ? "gemm_dot4" : "gemm_tile");
      expect(variantsOf({ ...amd, vendor: "apple" }, "matmul", { dtype, precision: "fast" })).not.toContain("gemm_dot4");
      // Arc's registers do not hold what is exact with formats that f16 does not hold.
      const exact = ["bf16", "f16"].includes(dtype) ? "gemm_subgroup_matrix" : "gemm_tile";
      expect([best(arc, dtype, 512), best(arc, dtype, 512, "auto")]).toEqual([exact, "gemm_subgroup_matrix"]);
      for (const precision of ["exact", "auto"] as const) expect(best(iris, dtype, 512, precision)).toBe("gemm_tile");
    }
    // Attention on matrix units is for the fragments of AMD and NVIDIA, and heads that they divide.
    for (const [gpu, width, first] of [
      [nvidia, 64, "flash_subgroup_matrix"],
      [nvidia, 128, "flash_subgroup_matrix"],
      [nvidia, 20, "flash"],
      [amd, 128, "flash"],
      [arc, 128, "flash"],
      [plainGpu, 64, "flash"],
      [{ ...nvidia, matrixSyntax: "flag" }, 64, "flash"], // an older Dawn, whose fragments are not loaded from arrays of another type
    ] as const)
      expect(triesOf(gpu, "attention", { width })[0]).toBe(first);
    expect(triesOf(amd, "norm", { rows: 100, width: 896 })[0]).toBe("subgroups");
    expect(triesOf(plainGpu, "norm", { rows: 100, width: 896 })[0]).toBe("workgroup");
  });

  it("a GPU with less than the defaults still has every op", () => {
    const small = adapter({ kind: "gpu", limits: { maxComputeInvocationsPerWorkgroup: 128, maxComputeWorkgroupStorageSize: 8192 } });
    for (const rows of [1, 8, 64, 512]) expect(best(small, "bf16", rows)).toBe("gemv_workgroup");
  });

  it("a GPU with fragments of 16 × 16 × 16 takes 5 to 8 rows of q4 on them", () => {
    const rows = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const few = [...Array(4).fill("gemv_subgroup"), ...Array(4).fill("gemv_subgroup_matrix"), "gemm_subgroup_matrix"];
    expect(rows.map((m) => best(nvidia, "q4", m))).toEqual(few);
    for (const dtype of ["bf16", "q8"] as const) expect(best(nvidia, dtype, 8)).toBe("gemv_subgroup");
    expect(best(arc, "q4", 8)).toBe("gemv_subgroup"); // its fragments are 8 high
  });

  it("no GPU gets what is for CPU adapters", () => {
    for (const gpu of [plainGpu, amd, nvidia, arc, adapter({ kind: "gpu", features: ["subgroups"], subgroups: [8, 8] })]) {
      for (const op of Object.keys(VARIANTS) as (keyof typeof VARIANTS)[])
        for (const dtype of FORMATS)
          expect(variantsOf(gpu, op, { dtype, precision: "fast" }).filter((each) => each.startsWith("cpu_"))).toEqual([]);
      expect(variantsOf(gpu, "attention").filter((variant) => variant !== "flash_subgroup_matrix")).toEqual(["flash"]);
      expect(variantsOf(gpu, "decode")).toEqual(["split"]);
    }
  });

  it("what is in ops/cpu is named cpu_, and nothing else is", () => {
    for (const op of Object.keys(VARIANTS) as (keyof typeof VARIANTS)[])
      expect(new Set(VARIANTS[op].filter((each) => each.startsWith("cpu_")))).toEqual(new Set(Object.keys(cpu.KERNELS[op])));
  });

  it("a CPU adapter decodes 1 to 8 rows by what was the fastest there", () => {
    const rows = [1, 2, 3, 4, 5, 6, 7, 8];
    for (const dtype of ["q8", "q4"] as const) {
      expect(rows.map((m) => best(lavapipe, dtype, m))).toEqual(["cpu_gemv_columns", ...rows.slice(1).map(() => "cpu_gemm_rows4")]);
      expect(rows.map((m) => best(swiftShader, dtype, m))).toEqual(rows.map(() => "cpu_gemv_columns"));
    }
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      expect(rows.map((m) => best(lavapipe, dtype, m))).toEqual(["cpu_gemv_subgroup", "gemv_subgroup", ...Array(6).fill("cpu_gemm_rows8")]);
      expect(rows.map((m) => best(swiftShader, dtype, m))).toEqual(["cpu_gemv_subgroup", ...Array(7).fill("cpu_gemm_tile16")]);
      expect(rows.map((m) => best(plainCpu, dtype, m))).toEqual(rows.map(() => "cpu_gemv_thread"));
    }
    expect(triesOf(lavapipe, "decode", { width: 64 })).toEqual(["cpu_vec8", "split"]);
    expect(triesOf(lavapipe, "decode", { width: 20 })).toEqual(["split"]);
    expect(triesOf(swiftShader, "decode", { width: 64 })).toEqual(["cpu_vec4", "split"]);
    expect(triesOf(plainCpu, "decode", { width: 64 })).toEqual(["split"]);
  });

  it("names every kernel that there is, and each runs somewhere", () => {
    const adapters = [...Object.values(ALL), real];
    for (const dtype of ["bf16", "q4"] as const) {
      const found = new Set(adapters.flatMap((gpu) => variantsOf(gpu, "matmul", { dtype, precision: "fast" })));
      const quantizedOnly = ["cpu_gemv_columns", "cpu_gemm_rows4", "gemv_subgroup_matrix", "gemm_dot4"];
      // Texture storage is asked of a real device, and only lavapipe's subgroups are large enough.
      const missing = VARIANTS.matmul.filter((each) => !found.has(each) && each !== "cpu_gemm_panels");
      expect(missing).toEqual(dtype === "q4" ? [] : VARIANTS.matmul.filter((each) => quantizedOnly.includes(each)));
    }
  });

  it("takes the variant that is wanted, and says which there are where there is none of it", () => {
    const shape = { dtype: "bf16", rows: 3, width: 896 } as const;
    expect(choose(lavapipe, "matmul", "matmul w", shape, "gemv_workgroup")).toBe(
      choose(amd, "matmul", "matmul w", shape, "gemv_workgroup"),
    );
    expect(() => choose(amd, "matmul", "matmul w", shape, "cpu_gemv_columns")).toThrow(
      "matmul w: variant cpu_gemv_columns does not run on this adapter with bf16 weights; it has gemv_workgroup, gemv_subgroup, gemm_tile",
    );
    expect(() => choose(plainGpu, "decode", "decode", { width: 20 }, "cpu_vec8")).toThrow(
      "decode: variant cpu_vec8 does not run on this adapter; it has split",
    );
  });
});
