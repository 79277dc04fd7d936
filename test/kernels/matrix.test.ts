import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { create, globals } from "webgpu";
import type { Gpu } from "../../src/gpu/device.ts";
import { bringTexts, type KernelSpec, kernelSource } from "../../src/gpu/kernel.ts";
import { compiles, type MatrixSyntax, withFlags } from "../../src/gpu/language.ts";
import { shaders } from "../../src/gpu/shaders-late.gen.ts";
import type { MatrixConfig } from "../../src/gpu/subgroups.ts";
import type { KernelCase } from "../../src/harness/case.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { runCases } from "../../src/harness/report.ts";
import { GEMMS } from "../../src/ops/matrix/gemm.ts";
import { matrixDirectives } from "../../src/ops/matrix/units.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";
import { useCleanGpu } from "../shared/gpu.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { emulated, fragments, withMatrixUnits } from "./emulated.ts";

// matmul.gemm_subgroup_matrix needs a GPU with matrix units, which the machines that test it mostly lack. What can be said without: that the
// compiler takes it (Dawn's null backend has every feature and computes nothing), and that all of its cases are right with emulated fragments.
// What remains to such a GPU is the harness's `variant=gemm_subgroup_matrix`.

/** What makers' GPUs have, and the threads of their subgroups. */
const GPUS: Readonly<Record<string, { config: MatrixConfig; size: number }>> = {
  "AMD and NVIDIA": { config: fragments("f16", 16, 16, 16), size: 32 },
  "Intel Xe2": { config: fragments("f16", 8, 16, 16), size: 16 },
  "Intel Arc A": { config: fragments("f16", 8, 8, 16), size: 8 },
  Apple: { config: fragments("f32", 8, 8, 8), size: 32 },
};

/** Every kernel that such a GPU gets for a format: by tile, exact or not, bounded or not, any K or multiples of 32. */
function specs({ config, size }: (typeof GPUS)[string], dtype: MatrixDtype): KernelSpec[] {
  const limits = { maxComputeWorkgroupStorageSize: 65536, maxComputeInvocationsPerWorkgroup: 1024 };
  const gpu = { matrixSyntax: "typed", subgroups: { size, matrices: [config] }, device: { limits } } as unknown as Gpu;
  return [64, 68].flatMap((k) =>
    (["exact", "auto"] as const).flatMap((precision) =>
      [true, false].flatMap((bounded) => {
        const shape = { dtype, rows: 512, k, precision, bounded };
        if ((dtype[0] === "q" && k === 68) || !GEMMS.gemm_subgroup_matrix.needs.device(gpu, shape)) return [];
        const { source, libs, consts, directives, reader, tiles } = GEMMS.gemm_subgroup_matrix.plan(gpu, shape);
        return tiles!.map((tile) => ({
          ...source,
          libs: ["lib/step", reader!, "lib/gelu", "lib/matmul", ...libs] as const,
          directives,
          consts: { ...consts, ...tile.consts },
          bindings: "uurrrrrww",
        }));
      }),
    ),
  );
}

const DTYPES = ["f32", "f16", "bf16", "q8", "q4"] as const;

describe("matmul.gemm_subgroup_matrix, as the compiler sees it", () => {
  let dawn: GPU;
  let device: GPUDevice;
  beforeAll(async () => {
    Object.assign(globalThis, globals);
    dawn = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]); // reachable as long as its device is
    const adapter = (await dawn.requestAdapter())!;
    const requiredFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
    device = await adapter.requestDevice({ requiredFeatures });
  });
  afterAll(() => {
    device.destroy();
    expect(dawn).toBeDefined();
  });

  // Its pipelines may have 16 KiB of workgroup memory only.
  const valid = async (spec: KernelSpec, syntax: MatrixSyntax) => {
    await bringTexts(spec);
    return compiles(device, spec.shader, syntax === "flag" ? withFlags(kernelSource(spec)) : kernelSource(spec));
  };

  it.each(Object.entries(GPUS))("it is valid for every kernel of %s, in both forms of loads", async (_, of) => {
    for (const syntax of ["typed", "flag"] as const)
      for (const dtype of DTYPES) {
        const all = specs(of, dtype);
        expect(all.length).toBeGreaterThan(0);
        for (const spec of all) expect(await valid(spec, syntax), JSON.stringify(spec.consts)).toBe(true);
      }
  });

  it("so is attention on matrix units, for every precision and width", async () => {
    for (const D of [32, 64, 96, 128])
      for (const [QPARTS, KPARTS, PPARTS] of [
        [1, 1, 1],
        [2, 1, 1],
        [2, 1, 2],
        [2, 2, 2],
      ] as const) {
        const spec: KernelSpec = {
          shader: "attention.flash_subgroup_matrix",
          libs: ["lib/step", "lib/attention"],
          consts: { D, M: 16, N: 16, K: 16, WIDTH: 32, QPARTS, KPARTS, PPARTS },
          directives: matrixDirectives("f16"),
          bindings: "uurrrwr",
        };
        expect(await valid(spec, "typed"), JSON.stringify(spec.consts)).toBe(true);
      }
  });

  it("so is matmul.gemv_subgroup_matrix", async () => {
    const { size, config } = GPUS["AMD and NVIDIA"]!;
    const gpu = { matrixSyntax: "typed", subgroups: { size, matrices: [config] } } as unknown as Gpu;
    for (const bounded of [true, false]) {
      const { source, libs, consts, directives, reader } = GEMMS.gemv_subgroup_matrix.plan(gpu, {
        dtype: "q4",
        rows: 8,
        k: 64,
        precision: "exact",
        bounded,
      });
      const spec: KernelSpec = {
        ...source,
        libs: ["lib/step", reader!, "lib/gelu", "lib/matmul", ...libs],
        directives,
        consts,
        bindings: "uurrrrrww",
      };
      for (const syntax of ["typed", "flag"] as const) expect(await valid(spec, syntax), JSON.stringify(spec.consts)).toBe(true);
    }
  });

  it("it is refused where something is wrong with it: that the above is a test at all", async () => {
    const [whole] = specs(GPUS["AMD and NVIDIA"]!, "bf16");
    const code = shaders["matmul.gemm_subgroup_matrix"];
    const turned = { ...whole!, shader: "turned", code: code.replace("(left,right[n],", "(right[n],left,") };
    expect(await valid(turned, "typed")).toBe(false);
    expect(await valid({ ...whole!, directives: [] }, "typed")).toBe(false);
  });
});

// All of them (full mode) take a busy machine longer than other tests: it is no failure.
describe("matmul.gemm_subgroup_matrix and attention.flash_subgroup_matrix with emulated fragments", { timeout: 7_200_000 }, () => {
  let gpu: Gpu;
  useCleanGpu((opened) => {
    gpu = opened;
  });

  const cases = kernelCases().filter(({ params }) => params.variant === "gemm_subgroup_matrix");
  const full = inject("full");

  it.for(Object.entries(GPUS))("all its cases pass as on %s", async ([name, { config }], context) => {
    context.skip(config.componentType === "f32" && !full, "64 multiplications to compile, two minutes on lavapipe: test:full runs Apple's");
    context.skip(isQuick && config.M === 8 && config.N === 8, `Xe2's, Chromium has them too, stand for it: ${ELSEWHERE}`);
    // The ordinary run has bf16's of one maker, whose kernels are few, and some of the others': what differs is sizes. Compiling takes longest.
    const step = config.N * config.M === 256 ? (isQuick ? 6 : 3) : 16;
    const chosen = cases.filter(({ size, params }, i) => full || (size !== "full" && params.weights === "bf16" && i % step === 0));
    const report = await runCases(withMatrixUnits(gpu, [config]), chosen);
    expect(report.failures).toEqual([]);
    // Arc A has too few registers for weights in two parts, which exact takes but for those that are f16 or bf16.
    const inTwo = ({ params }: KernelCase) => params.precision === undefined && !String(params.weights).endsWith("f16");
    expect(report.unsupported).toBe(name === "Intel Arc A" ? chosen.filter(inTwo).length : 0);
    expect(report.passed).toBe(chosen.length - report.unsupported);
    expect(report.passed).toBeGreaterThan(0);
  });

  it.skipIf(isQuick)("cases of few rows pass as on AMD and NVIDIA", async () => {
    const all = kernelCases().filter(
      ({ size, params }) => params.variant === "gemv_subgroup_matrix" && params.weights === "q4" && (full || size !== "full"),
    );
    const few = full ? all : all.filter((_, i) => i % 3 === 0);
    const report = await runCases(withMatrixUnits(gpu, [fragments("f16", 16, 16, 16)], emulated, 32), few);
    expect(report.failures).toEqual([]);
    expect(report.passed).toBe(few.length);
    expect(few.length).toBeGreaterThan(3);
  });

  const attends = kernelCases().filter(({ params: { variant } }) => variant === "flash_subgroup_matrix");

  // A pipeline a head width and precision takes lavapipe some seconds: the ordinary run there has one of each of the models' widths.
  it.skipIf(isQuick)("all cases of attention pass, of every width that it takes, exact and auto", async () => {
    const isUsual = ({ op, params: { d, precision, rising } }: KernelCase) =>
      rising ? d === 64 : d === 64 ? precision === "auto" : d === 128 && op === "attention_vision" && !precision;
    const chosen = attends.filter((test) => (full ? (test.params.d as number) % 32 === 0 : isUsual(test)));
    expect(chosen.length).toBeGreaterThanOrEqual(12);
    const report = await runCases(withMatrixUnits(gpu, [fragments("f16", 16, 16, 16)]), chosen);
    expect(report.failures).toEqual([]);
    expect(report.passed).toBe(chosen.length);
  });
});
