// Matrix product for CPU adapters whose subgroups have 8 lanes: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing. So a workgroup of one
// subgroup makes 16 rows × 16 columns: lane l brings rows l and l + 8 of x and makes columns 2l .. 2l + 1; every load is of something new.
// (Scalar sums: vectors of two made it a third slower.)
// Needs: subgroups of exactly 8 lanes, the extension subgroups, K a multiple of 4; libs matmul and its own.
// Limits: 8 invocations, 5 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = group.y * 16u;
  let column = group.x * 16u + lane * 2u;
  // Rows and columns past the end repeat the last one; they are not stored.
  let x0 = min(row + lane, rows - 1u) * p.vec4s;
  let x1 = min(row + 8u + lane, rows - 1u) * p.vec4s;
  let w0 = weight_row(min(column, p.n - 1u)) * p.vec4s;
  let w1 = weight_row(min(column + 1u, p.n - 1u)) * p.vec4s;
  var c0a = 0.0;
  var c0b = 0.0;
  var c1a = 0.0;
  var c1b = 0.0;
  var c2a = 0.0;
  var c2b = 0.0;
  var c3a = 0.0;
  var c3b = 0.0;
  var c4a = 0.0;
  var c4b = 0.0;
  var c5a = 0.0;
  var c5b = 0.0;
  var c6a = 0.0;
  var c6b = 0.0;
  var c7a = 0.0;
  var c7b = 0.0;
  var c8a = 0.0;
  var c8b = 0.0;
  var c9a = 0.0;
  var c9b = 0.0;
  var c10a = 0.0;
  var c10b = 0.0;
  var c11a = 0.0;
  var c11b = 0.0;
  var c12a = 0.0;
  var c12b = 0.0;
  var c13a = 0.0;
  var c13b = 0.0;
  var c14a = 0.0;
  var c14b = 0.0;
  var c15a = 0.0;
  var c15b = 0.0;
  for (var k = 0u; k < p.vec4s; k++) {
    let a0 = x[x0 + k];
    let a1 = x[x1 + k];
    let b0 = weight(w0 + k);
    let b1 = weight(w1 + k);
    let s0 = subgroupBroadcast(a0, 0u);
    c0a += dot(s0, b0);
    c0b += dot(s0, b1);
    let s1 = subgroupBroadcast(a0, 1u);
    c1a += dot(s1, b0);
    c1b += dot(s1, b1);
    let s2 = subgroupBroadcast(a0, 2u);
    c2a += dot(s2, b0);
    c2b += dot(s2, b1);
    let s3 = subgroupBroadcast(a0, 3u);
    c3a += dot(s3, b0);
    c3b += dot(s3, b1);
    let s4 = subgroupBroadcast(a0, 4u);
    c4a += dot(s4, b0);
    c4b += dot(s4, b1);
    let s5 = subgroupBroadcast(a0, 5u);
    c5a += dot(s5, b0);
    c5b += dot(s5, b1);
    let s6 = subgroupBroadcast(a0, 6u);
    c6a += dot(s6, b0);
    c6b += dot(s6, b1);
    let s7 = subgroupBroadcast(a0, 7u);
    c7a += dot(s7, b0);
    c7b += dot(s7, b1);
    let s8 = subgroupBroadcast(a1, 0u);
    c8a += dot(s8, b0);
    c8b += dot(s8, b1);
    let s9 = subgroupBroadcast(a1, 1u);
    c9a += dot(s9, b0);
    c9b += dot(s9, b1);
    let s10 = subgroupBroadcast(a1, 2u);
    c10a += dot(s10, b0);
    c10b += dot(s10, b1);
    let s11 = subgroupBroadcast(a1, 3u);
    c11a += dot(s11, b0);
    c11b += dot(s11, b1);
    let s12 = subgroupBroadcast(a1, 4u);
    c12a += dot(s12, b0);
    c12b += dot(s12, b1);
    let s13 = subgroupBroadcast(a1, 5u);
    c13a += dot(s13, b0);
    c13b += dot(s13, b1);
    let s14 = subgroupBroadcast(a1, 6u);
    c14a += dot(s14, b0);
    c14b += dot(s14, b1);
    let s15 = subgroupBroadcast(a1, 7u);
    c15a += dot(s15, b0);
    c15b += dot(s15, b1);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = array<vec2<f32>, 16>(
    vec2<f32>(c0a, c0b),
    vec2<f32>(c1a, c1b),
    vec2<f32>(c2a, c2b),
    vec2<f32>(c3a, c3b),
    vec2<f32>(c4a, c4b),
    vec2<f32>(c5a, c5b),
    vec2<f32>(c6a, c6b),
    vec2<f32>(c7a, c7b),
    vec2<f32>(c8a, c8b),
    vec2<f32>(c9a, c9b),
    vec2<f32>(c10a, c10b),
    vec2<f32>(c11a, c11b),
    vec2<f32>(c12a, c12b),
    vec2<f32>(c13a, c13b),
    vec2<f32>(c14a, c14b),
    vec2<f32>(c15a, c15b),
  );
  let end = select(0u, min(16u, rows - row), column < p.n);
  for (var i = 0u; i < end; i++) {
    store_pair(row + i, column, results[i]);
  }
}
