import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, globals } from "webgpu";
import { Arena } from "../../src/gpu/arena.ts";
import { newCounters } from "../../src/gpu/counters.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { type KernelSpec, Kernels } from "../../src/gpu/kernel.ts";
import { Program, STEP_BYTES } from "../../src/gpu/program.ts";
import { type ShaderName, shaders } from "../../src/gpu/shaders.gen.ts";
import { boundOf, deviation } from "../../src/harness/bounds.ts";
import { Random } from "../../src/harness/random.ts";
import * as reference from "../../src/reference/matmul.ts";

// matmul.gemm_subgroup_matrix needs a GPU with matrix units, which the machines that test it mostly lack. What can be said without: that the
// compiler takes it (Dawn's null backend has every feature and computes nothing), and that its own arithmetic is right when fragments are
// emulated. What remains to such a GPU is the harness's `variant=gemm_subgroup_matrix`.

const LIBS = (dtype: string): ShaderName[] => ["lib/step", `lib/weight.${dtype}` as ShaderName, "lib/gelu", "lib/matmul"];
const EXTENSIONS = [
  "enable f16;",
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
];

describe("matmul.gemm_subgroup_matrix, as the compiler sees it", () => {
  let dawn: GPU;
  let device: GPUDevice;
  let kernels: Kernels;
  beforeAll(async () => {
    Object.assign(globalThis, globals);
    dawn = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]); // reachable as long as its device is
    const adapter = (await dawn.requestAdapter())!;
    const requiredFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
    device = await adapter.requestDevice({ requiredFeatures });
    kernels = new Kernels(device, (start) => start(), newCounters());
  });
  afterAll(() => {
    device.destroy();
    expect(dawn).toBeDefined();
  });

  const spec = (syntax: "typed" | "flag", dtype: string, [M, N, K, WIDTH]: readonly number[]): KernelSpec => ({
    shader: "matmul.gemm_subgroup_matrix",
    libs: [...LIBS(dtype), `lib/fragments.${syntax}`],
    directives: EXTENSIONS,
    consts: { M: M!, N: N!, K: K!, WIDTH: WIDTH! },
    bindings: "uurrrrrw",
  });

  it.each(["typed", "flag"] as const)("it is valid with loads in the %s form, for every weight and size of fragment", async (syntax) => {
    for (const dtype of ["f32", "f16", "bf16", "q8", "q4"]) {
      for (const size of [
        [8, 8, 8, 32],
        [16, 16, 16, 32],
        [16, 8, 16, 32],
        [16, 16, 16, 64],
      ])
        await kernels.get(spec(syntax, dtype, size));
    }
  });

  it("it is refused where something is wrong with it: that the above is a test at all", async () => {
    const whole = spec("typed", "bf16", [8, 8, 8, 32]);
    const code = shaders["matmul.gemm_subgroup_matrix"];
    const turned = { ...whole, shader: "turned", code: code.replace("(left, right,", "(right, left,") };
    await expect(kernels.get(turned)).rejects.toThrow(/kernel turned .* does not compile/);
    await expect(kernels.get({ ...whole, directives: EXTENSIONS.slice(0, 2) })).rejects.toThrow(/does not compile/);
  });
});

/**
 * Fragments behind the names that matmul.gemm_subgroup_matrix uses: of an operand where it lies in workgroup memory, of a result the row of a thread
 * (WIDTH is M). The loops' ends are hidden from compilers, which would spend minutes on unrolling them.
 */
const EMULATED = `
alias Left = u32;
alias Right = u32;
alias Result = array<f32, N>;
var<private> thread: u32;
fn end(n: u32) -> u32 { return min(n, n * p.n); }
fn load_left(at: u32) -> Left { return at; }
fn load_right(at: u32) -> Right { return at; }
fn subgroupMatrixMultiplyAccumulate(left: Left, right: Right, sums: Result) -> Result {
  var out = sums;
  for (var c = 0u; c < end(N); c++) {
    for (var k = 0u; k < end(K); k++) { out[c] += f32(xs[left + thread % WIDTH * PITCH + k]) * f32(ws[right + c * PITCH + k]); }
  }
  return out;
}
fn save_result(at: u32, result: Result) {
  var m = result;
  for (var c = 0u; c < end(N); c++) { results[at + thread % WIDTH * 16u + c] = m[c]; }
}
`;

describe("matmul.gemm_subgroup_matrix with emulated fragments", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openGpu();
  });
  afterAll(() => gpu.close());

  it.for([
    [1, 1, 4],
    [65, 67, 68],
    [30, 130, 36],
  ] as const)("%d × %d × %d is right to the rounding of f16", async ([m, n, k], context) => {
    if (!gpu.device.features.has("shader-f16")) context.skip("no f16 on this adapter to stage operands in: lavapipe runs this");
    const random = new Random(`matrix ${m} ${n} ${k}`);
    const [xs, ws, bias] = [random.values(m * k), random.values(n * k), random.values(n)];
    await gpu.memory.temporarily(async () => {
      const upload = (label: string, data: Float32Array<ArrayBuffer>) => {
        const buffer = gpu.memory.create(label, data.byteLength);
        gpu.memory.write(buffer, 0, data);
        return buffer;
      };
      const [x, w, b, y] = [upload("x", xs), upload("w", ws), upload("bias", bias), gpu.memory.create("y", m * n * 4)];
      const step = gpu.memory.create("step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
      const scratch = new Arena(gpu.memory);
      const program = new Program(gpu, "emulated", m, scratch, step);
      const entry = ") {\n  let rows = row_count();";
      const code = EMULATED + shaders["matmul.gemm_subgroup_matrix"].replace(entry, ") {\n  thread = index;\n  let rows = row_count();");
      expect(code).toContain("thread = index;");
      program.dispatch({
        kernel: {
          shader: "matmul.gemm_subgroup_matrix emulated",
          code,
          libs: LIBS("f32"),
          directives: ["enable f16;"],
          consts: { M: 8, N: 16, K: 32, WIDTH: 8 }, // few fragments: each is a piece of code
          bindings: "uurrrrrw",
        },
        params: [0, 1, k / 4, n, 0, n, 1],
        buffers: [x, w, w, b, b, y],
        workgroups: () => [Math.ceil(n / 64), Math.ceil(m / 64), 1],
      });
      await program.build();
      program.run({ units: m, start: 0 });
      const actual = new Float32Array(await gpu.memory.read(y, 0, m * n * 4));
      const everything = { rows: Array.from({ length: m }, (_, i) => i), columns: Array.from({ length: n }, (_, i) => i) };
      const { nmse, largest } = deviation(actual, reference.matmul(xs, ws, k, { bias }, everything));
      const bound = boundOf("matmul", "f16");
      expect(nmse).toBeLessThan(bound.nmse);
      expect(nmse).toBeGreaterThan(0); // it does round
      expect(largest).toBeLessThan(bound.largest);
      program.dispose();
    });
  });
});
