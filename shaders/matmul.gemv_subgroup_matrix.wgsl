// Matrix in q4 times up to 8 rows on matrix units, in f32's precision: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/gemm).
// The 16 rows of a fragment are x in two f16 parts, hi + lo = the f32 to 2^-22: row m and row m + 8. x times 2^-4 where SHRINK, for values up
// to 10^6. The columns are a group's codes as they are, which f16 holds; their sums are scaled once a group, in f32.
// A workgroup is 4 subgroups of 32, each of 16 columns. A slice of K, two groups of 32, lies in workgroup memory, in each 8 elements in the order
// 0 2 4 6 1 3 5 7, in which codes come out of a word. A thread brings 4 elements of x and a column's group, and sums up 4 columns of a row.
// Needs: SHRINK; the extensions f16, subgroups, chromium_experimental_subgroup_matrix; libs matmul, block.q4, gemm.
// Limits: 128 invocations, 7 storage bindings, 20,224 bytes of workgroup memory. Reference: reference/matmul.
const M = 16u;
const N = 16u;
const K = 16u;
const PITCH = 72u; // elements from row to row of a slice: a multiple of 16 bytes, neighbouring rows start in different banks

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

var<workgroup> xs: array<f16, 16 * PITCH>;
var<workgroup> ws: array<f16, 64 * PITCH>;
var<workgroup> results: array<f32, 4 * 2 * M * N>;
var<workgroup> factors: array<f32, 2 * 64>; // scales, of a group and of a column

// The part of a number that f16 holds, by its bits: compilers take f32(f16(v)) for v.
fn top(v: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) & vec4<u32>(0xffffe000u));
}

// The codes in bits 0 .. 3 and 16 .. 19, by way of 1024 + code, whose last bits they are.
fn two_codes(q: u32) -> vec2<f16> {
  return bitcast<vec2<f16>>((q & 0x000f000fu) | 0x64006400u) - vec2<f16>(1032.0);
}

@compute @workgroup_size(32, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  // Rows, columns and groups past the end repeat the last one; they are not stored, and scaled by 0.
  let x_row = min(group.y * 8u + index / 16u, row_count() - 1u) * p.vec4s;
  let w_row = weight_row(min(group.x * 64u + index % 64u, p.n - 1u)) * (p.vec4s / 8u);
  let x_at = index / 16u * PITCH + index % 16u / 2u * 8u + index % 2u * 2u;
  let w_at = index % 64u * PITCH + index / 64u * 32u;
  let column = local.y * N + local.x % 4u * 4u; // of the four that this thread sums up
  let slices = slices_of(group.z, groups.z, 64u);
  var sums = vec4<f32>();
  for (var t = slices.y; t > 0u; t--) {
    let slice = slices.x - t;
    let own = 2u * slice + index / 64u;
    let block = w_row + min(own, p.vec4s / 8u - 1u);
    let v = select(1.0, 0.0625, SHRINK) * x[x_row + min(16u * slice + index % 16u, p.vec4s - 1u)];
    let codes = codes_at(block);
    factors[index] = select(0.0, scale_at(block), own < p.vec4s / 8u);
    let hi = top(v);
    let lo = v - hi;
    xs[x_at] = f16(hi.x);
    xs[x_at + 1u] = f16(hi.z);
    xs[x_at + 4u] = f16(hi.y);
    xs[x_at + 5u] = f16(hi.w);
    xs[x_at + 8u * PITCH] = f16(lo.x);
    xs[x_at + 8u * PITCH + 1u] = f16(lo.z);
    xs[x_at + 8u * PITCH + 4u] = f16(lo.y);
    xs[x_at + 8u * PITCH + 5u] = f16(lo.w);
    for (var i = 0u; i < 16u; i++) {
      let pair = two_codes(codes[i / 4u] >> (4u * (i % 4u)));
      ws[w_at + 2u * i] = pair.x;
      ws[w_at + 2u * i + 1u] = pair.y;
    }
    workgroupBarrier();
    for (var g = 0u; g < 2u; g++) {
      var c = Result(); // without a value it would not be cleared in every round
      for (var f = 0u; f < 2u; f++) {
        let left = subgroupMatrixLoad<Left, row_major>(&xs, g * 32u + f * K, PITCH);
        let right = subgroupMatrixLoad<Right, col_major>(&ws, local.y * N * PITCH + g * 32u + f * K, PITCH);
        c = subgroupMatrixMultiplyAccumulate(left, right, c);
      }
      subgroupMatrixStore<row_major>(&results, (2u * local.y + g) * M * N, c, N);
    }
    var scale: array<vec4<f32>, 2>; // before others bring the next slice's
    for (var g = 0u; g < 2u; g++) {
      let i = 64u * g + column;
      scale[g] = vec4<f32>(factors[i], factors[i + 1u], factors[i + 2u], factors[i + 3u]);
    }
    workgroupBarrier();
    for (var g = 0u; g < 2u; g++) {
      let i = (2u * local.y + g) * M * N + 4u * local.x;
      let hi = vec4<f32>(results[i], results[i + 1u], results[i + 2u], results[i + 3u]);
      let j = i + 8u * N;
      let lo = vec4<f32>(results[j], results[j + 1u], results[j + 2u], results[j + 3u]);
      sums += scale[g] * (hi + lo);
    }
  }
  finish_vec4(group.y * 8u + local.x / 4u, group.x * 64u + column, select(1.0, 16.0, SHRINK) * sums, group.z, groups.z);
}
