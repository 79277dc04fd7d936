import attention from "../../shaders/attention.flash_subgroup_matrix.wgsl?raw";
import gemm from "../../shaders/matmul.gemm_subgroup_matrix.wgsl?raw";
import tiles from "../../shaders/matmul.gemm_tile.wgsl?raw";
import gemv from "../../shaders/matmul.gemv_subgroup_matrix.wgsl?raw";
import type { Gpu } from "../../src/gpu/device.ts";
import type { KernelSpec } from "../../src/gpu/kernel.ts";
import type { MatrixConfig } from "../../src/gpu/subgroups.ts";
import { bringMatrixKernels } from "../../src/ops/choose.ts";

await bringMatrixKernels(); // no device that is opened here has units

/** Lanes of an emulated subgroup, a share of a fragment each: few, so that the slices of large tiles may be short (emulated). */
const widthOf = ({ M, N }: MatrixConfig): number => ((M * N) / 16 >= 8 ? 8 : 4);

const ROUNDED = (f16: boolean) => `
fn rounded(v: f32) -> f32 {
  let exponent = max(i32((bitcast<u32>(v) >> 23u) & 255u) - 127, -14);
  let step = bitcast<f32>(u32(exponent - 10 + 127) << 23u);
  let r = round(v / step) * step;
  return ${f16 ? "select(r, r * 1e38, abs(r) > 65504.0)" : "v"};
}
`;

/**
 * Fragments without matrix units. An operand is where it lies in workgroup memory, read when it is multiplied, which is right as long as
 * no store comes between; of a result a lane has M N / WIDTH elements. f16 is emulated, too, in arithmetic that every adapter has: 11 bits,
 * 2^-24 at the finest, infinite above 65504. The loops' ends are hidden from compilers, which would spend minutes on unrolling them.
 */
const FRAGMENTS = (f16: boolean) => `${ROUNDED(f16)}
alias Left = u32;
alias Right = u32;
const EACH = M * N / WIDTH;
alias Result = array<f32, EACH>;
fn end(n: u32) -> u32 { return min(n, n * p.n); }
fn multiply(lane: u32, left: Left, right: Right, sums: Result) -> Result {
  var out = sums;
  for (var e = 0u; e < end(EACH); e++) {
    let row = (lane * EACH + e) / N;
    let column = (lane * EACH + e) % N;
    for (var k = 0u; k < end(K); k++) { out[e] += xs[left + row * PITCH + k] * ws[right + column * PITCH + k]; }
  }
  return out;
}
fn save(lane: u32, at: u32, result: Result) {
  var all = result;
  for (var e = 0u; e < end(EACH); e++) { results[at + lane * EACH + e] = all[e]; }
}
`;

/**
 * The same for attention, whose operands lie in a buffer too: an operand is which memory, whether turned, where, and its stride, in elements of that
 * memory. A result is where it lies in memory of the lane's own: copied as a value from loop to loop, wide heads' took minutes to compile.
 */
const OPERANDS = `${ROUNDED(true)}
alias Left = vec4<u32>;
alias Right = vec4<u32>;
const EACH = M * N / WIDTH;
var<private> o_and_s: array<f32, (D + KEYS) / N * EACH>;
fn o_at(n: u32) -> u32 { return n * EACH; }
fn s_at(n: u32) -> u32 { return (D / N + n) * EACH; }
fn end(n: u32) -> u32 { return min(n, n * p.heads); }
fn in_f16(v: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(pack2x16float(vec2<f32>(rounded(v.x), rounded(v.y))), pack2x16float(vec2<f32>(rounded(v.z), rounded(v.w))));
}
fn element(o: vec4<u32>, r: u32, c: u32) -> f32 {
  let at = 8u * o.z + select(8u * r * o.w + c, 8u * c * o.w + r, o.y == 1u);
  if (o.x == 1u) { return unpack2x16float(tile[at / 8u][at / 2u % 4u])[at % 2u]; }
  return unpack2x16float(reals[at / 8u][at / 2u % 4u])[at % 2u];
}
fn multiply(lane: u32, left: Left, right: Right, sums: u32) {
  for (var e = 0u; e < end(EACH); e++) {
    let row = (lane * EACH + e) / N;
    let column = (lane * EACH + e) % N;
    for (var k = 0u; k < end(K); k++) { o_and_s[sums + e] += element(left, row, k) * element(right, k, column); }
  }
}
fn clear(result: u32) {
  for (var e = 0u; e < end(EACH); e++) { o_and_s[result + e] = 0.0; }
}
fn place(lane: u32, e: u32) -> u32 { return 4u * PITCH * ((lane * EACH + e) / N) + (lane * EACH + e) % N; }
fn save(lane: u32, at: u32, result: u32) {
  for (var e = 0u; e < end(EACH); e++) {
    let word = 4u * at + place(lane, e);
    tile[word / 4u][word % 4u] = bitcast<u32>(o_and_s[result + e]);
  }
}
fn load(lane: u32, at: u32, result: u32) {
  for (var e = 0u; e < end(EACH); e++) {
    let word = 4u * at + place(lane, e);
    o_and_s[result + e] = bitcast<f32>(tile[word / 4u][word % 4u]);
  }
}
`;

/** The largest score of a row, and the sum of the other lane's weights: what the lanes of a real subgroup tell each other. */
const ROW = `
fn other_sum(at: u32, other: u32, sum: f32) -> f32 {
  workgroupBarrier();
  tile[at].x = bitcast<u32>(sum);
  workgroupBarrier();
  return bitcast<f32>(tile[other].x);
}
fn row_max(at: u32, key0: u32, sees: u32) -> f32 {
  var high = LOWEST;
  for (var i = 0u; i < end(KEYS); i++) { high = max(high, select(LOWEST, bitcast<f32>(tile[at + i / 4u][i % 4u]), key0 + i < sees)); }
  return high;
}
`;

function emulatedAttention(spec: KernelSpec): KernelSpec {
  const code = attention
    .replace(/^alias \w+ = subgroup_matrix_.*\n/gm, "")
    .replace(/^ *var [os]: array<Result.*\n/gm, "")
    .replace(/o\[(.*)\] = subgroupMatrixLoad<Result, row_major>\(&tile, (.*), PITCH\);/g, "load(lane, $2, o_at($1));")
    .replace(
      /subgroupMatrixLoad<\w+, (\w+)_major>\(&(\w+), (.*), ([^,]*)\);/g,
      (_, layout: string, of: string, at: string, stride: string) => {
        return `vec4<u32>(${of === "tile" ? 1 : 0}u, ${layout === "col" ? 1 : 0}u, ${at}, ${stride});`;
      },
    )
    .replace("s[n] = Result()", "clear(s_at(n))")
    .replace(/(\w)\[n\] = subgroupMatrixMultiplyAccumulate\(left, right, .*\);/g, "multiply(lane, left, right, $1_at(n));")
    .replace(/subgroupMatrixStore<row_major>\(&tile, (.*), ([os])\[(.*)\], PITCH\);/g, "save(lane, $1, $2_at($3));")
    .replace(/var ([dk]) = (\w+ \/ K);/g, "var $1 = end($2);")
    .replace(/; (\w+) < ([^;]+);/g, "; $1 < end($2);") // every loop
    .replace("subgroupShuffleXor(high, i)", "row_max(row * PITCH, key0, sees)")
    .replace("subgroupShuffleXor(sum, i)", "other_sum(at, row * PITCH + FOURS - own, sum)")
    .replace("let need =", "workgroupBarrier(); // the row's lanes are no subgroup's\n    let need =")
    .replace(/bitcast<vec2<u32>>\(vec4<f16>\(([^()]*)\)\)/g, "in_f16($1)");
  return {
    ...spec,
    shader: `${spec.shader} emulated`,
    code: OPERANDS + ROW + code,
    consts: { ...spec.consts, WIDTH: 2 * (spec.consts.M as number) },
    directives: [],
  };
}

/** Loads, products and stores of the kernels of products. */
const plain = (code: string): string =>
  code
    .replace(/^alias \w+ = subgroup_matrix_.*\n/gm, "")
    .replace(/subgroupMatrixLoad<\w+, \w+>\(&\w+, (.*), PITCH\);/g, "$1;")
    .replace("subgroupMatrixMultiplyAccumulate(", "multiply(local.x % WIDTH, ");

/** Its fragments are shared by 32 lanes as they are. */
function emulatedGemv(spec: KernelSpec): KernelSpec {
  const code = plain(gemv)
    .replace(/subgroupMatrixStore<row_major>\(&results, (.*), c, N\)/, "save(local.x, $1, c)")
    .replace(
      "bitcast<vec2<f16>>((q & 0x000f000fu) | 0x64006400u) - vec2<f16>(1032.0)",
      "vec2<f32>(f32(q & 15u), f32((q >> 16u) & 15u)) - 8.0",
    )
    .replaceAll(" f16(", " rounded(")
    .replaceAll("<f16", "<f32");
  return {
    ...spec,
    shader: `${spec.shader} emulated`,
    code: FRAGMENTS(true) + code,
    consts: { ...spec.consts, WIDTH: 32 },
    directives: [],
  };
}

/** A kernel on matrix units as one that needs none. */
export function emulated(spec: KernelSpec): KernelSpec {
  if (spec.shader === "matmul.gemv_subgroup_matrix") return emulatedGemv(spec);
  if (spec.shader === "attention.flash_subgroup_matrix") return emulatedAttention(spec);
  if (spec.shader !== "matmul.gemm_subgroup_matrix") return spec;
  const { libs = [], consts, ...rest } = spec;
  const f16 = libs.some((lib) => typeof lib === "object" && lib.code.includes("f16"));
  const bytes = (BK: number) => {
    const { TM, TN, GM, GN, M, N, PRODUCTS } = consts as Record<string, number>;
    return 4 * (Math.min(PRODUCTS!, 2) * TM! + (Math.max(PRODUCTS!, 2) - 1) * TN!) * (BK + 8) + 4 * GM! * GN! * M! * N!;
  };
  const code = plain(gemm)
    .replace("subgroupMatrixStore<row_major>(&results, result0, c[0], N)", "save(lane, result0, c[0])")
    .replaceAll("= Real(", "= rounded(")
    .replaceAll("<Real,", "<f32,");
  return {
    ...rest,
    shader: `${spec.shader} emulated`,
    code: FRAGMENTS(f16) + code,
    libs: libs.filter((lib) => typeof lib === "string"),
    consts: { ...consts, BK: bytes(consts.BK as number) <= 32768 ? consts.BK! : 16 },
    directives: [],
  };
}

/** The product on matrix units as f32 tiles whose operands are rounded as its are: as exact, and fast enough for whole models. */
export function simulated(spec: KernelSpec): KernelSpec {
  if (spec.shader !== "matmul.gemm_subgroup_matrix") return spec;
  const parts = `${ROUNDED(true)}
fn split(v: f32) -> f32 {
  let top = bitcast<f32>(bitcast<u32>(v) & 0xffffe000u);
  return rounded(top) + rounded(v - top);
}
fn x_value(v: f32) -> f32 {
  if (PRODUCTS == 1u) { return rounded(v); }
  return select(split(v), 16.0 * split(0.0625 * v), SHRINK);
}
fn w_value(v: f32) -> f32 { return select(rounded(v), split(v), PRODUCTS > 2u); }
`;
  const each = (share: string, value: string) =>
    `let raw = ${share}; for (var q = 0u; q < 4u; q++) { for (var e = 0u; e < 4u; e++) { share[q][e] = ${value}(raw[q][e]); } }`;
  const code = tiles
    .replace("share = x_share(at, k);", each("x_share(at, k)", "x_value"))
    .replace("share = expand(fetch(at, k));", each("expand(fetch(at, k))", "w_value"));
  const libs = (spec.libs ?? []).filter((lib) => typeof lib === "string");
  return { ...spec, shader: `${spec.shader} simulated`, code: parts + code, libs, directives: [] };
}

/** A GPU with matrix units of this configuration, made of any adapter. */
export function withMatrixUnits(gpu: Gpu, matrices: readonly MatrixConfig[], kernelOf = emulated, lanes?: number): Gpu {
  const features = new Set([...gpu.device.features, "chromium-experimental-subgroup-matrix"]);
  const device = new Proxy(gpu.device, {
    get(target, name) {
      if (name === "features") return features;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const kernels = { get: (spec: KernelSpec) => gpu.kernels.get(kernelOf(spec)) } as Gpu["kernels"];
  return {
    ...gpu,
    kind: "gpu",
    vendor: "",
    device,
    kernels,
    matrixSyntax: "typed",
    // Simulated units are no subgroups' business: the other kernels go by those that the adapter has.
    subgroups: { size: kernelOf === simulated ? gpu.subgroups.size : (lanes ?? widthOf(matrices[0]!)), pinned: undefined, matrices },
  };
}

/** A configuration's fragments, M × N × K. */
export const fragments = (type: "f16" | "f32", M: number, N: number, K: number): MatrixConfig => ({
  componentType: type,
  resultComponentType: "f32",
  M,
  N,
  K,
});
