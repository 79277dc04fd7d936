// Matrix product for CPU adapters whose subgroups have 8 lanes: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing. So a workgroup of one
// subgroup makes 16 rows × 16 columns: lane l brings rows l and l + 8 of x and makes columns 2l .. 2l + 1; every load is of something new.
// Needs: subgroups of exactly 8 lanes, the extension subgroups, K a multiple of 4; libs matmul and its own.
// Limits: 8 invocations, 5 storage bindings. Reference: reference/matmul.

fn dots(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>) -> vec2<f32> {
  return vec2<f32>(dot(a, b0), dot(a, b1));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = group.y * 16u;
  let column = group.x * 16u + lane * 2u;
  // Rows and columns past the end repeat the last one; they are not stored.
  let x0 = min(row + lane, rows - 1u) * p.quads;
  let x1 = min(row + 8u + lane, rows - 1u) * p.quads;
  let w0 = weight_row(min(column, p.n - 1u)) * p.quads;
  let w1 = weight_row(min(column + 1u, p.n - 1u)) * p.quads;
  var c0 = vec2<f32>();
  var c1 = vec2<f32>();
  var c2 = vec2<f32>();
  var c3 = vec2<f32>();
  var c4 = vec2<f32>();
  var c5 = vec2<f32>();
  var c6 = vec2<f32>();
  var c7 = vec2<f32>();
  var c8 = vec2<f32>();
  var c9 = vec2<f32>();
  var c10 = vec2<f32>();
  var c11 = vec2<f32>();
  var c12 = vec2<f32>();
  var c13 = vec2<f32>();
  var c14 = vec2<f32>();
  var c15 = vec2<f32>();
  for (var k = 0u; k < p.quads; k++) {
    let a0 = x[x0 + k];
    let a1 = x[x1 + k];
    let b0 = weight(w0 + k);
    let b1 = weight(w1 + k);
    c0 += dots(subgroupBroadcast(a0, 0u), b0, b1);
    c1 += dots(subgroupBroadcast(a0, 1u), b0, b1);
    c2 += dots(subgroupBroadcast(a0, 2u), b0, b1);
    c3 += dots(subgroupBroadcast(a0, 3u), b0, b1);
    c4 += dots(subgroupBroadcast(a0, 4u), b0, b1);
    c5 += dots(subgroupBroadcast(a0, 5u), b0, b1);
    c6 += dots(subgroupBroadcast(a0, 6u), b0, b1);
    c7 += dots(subgroupBroadcast(a0, 7u), b0, b1);
    c8 += dots(subgroupBroadcast(a1, 0u), b0, b1);
    c9 += dots(subgroupBroadcast(a1, 1u), b0, b1);
    c10 += dots(subgroupBroadcast(a1, 2u), b0, b1);
    c11 += dots(subgroupBroadcast(a1, 3u), b0, b1);
    c12 += dots(subgroupBroadcast(a1, 4u), b0, b1);
    c13 += dots(subgroupBroadcast(a1, 5u), b0, b1);
    c14 += dots(subgroupBroadcast(a1, 6u), b0, b1);
    c15 += dots(subgroupBroadcast(a1, 7u), b0, b1);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = array<vec2<f32>, 16>(c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15);
  let end = select(0u, min(16u, rows - row), column < p.n);
  for (var i = 0u; i < end; i++) {
    store_pair(row + i, column, results[i]);
  }
}
