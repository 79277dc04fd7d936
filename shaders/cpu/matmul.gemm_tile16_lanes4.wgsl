// Matrix product for CPU adapters whose subgroups have 4 lanes: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing. So a workgroup of one
// subgroup makes 8 rows × 16 columns: lane l brings rows l and l + 4 of x and makes columns 4l .. 4l + 3; every load is of something new.
// No norm in front (lib/prologue.*): with its gain's load, the seventh, it took 1.13 to 1.16 times as long, with one in four handed round 1.16 to 1.39.
// Needs: subgroups of exactly 4 lanes, the extension subgroups, K a multiple of 4; libs matmul and its own, tile.
// Limits: 4 invocations, 5 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = group.y * 8u;
  let column = group.x * 16u + lane * 4u;
  // Rows past the end repeat the last one; they are not stored.
  let x0 = min(row + lane, rows - 1u) * p.vec4s;
  let x1 = min(row + 4u + lane, rows - 1u) * p.vec4s;
  let starts = weight_rows(column);
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var c4 = vec4<f32>();
  var c5 = vec4<f32>();
  var c6 = vec4<f32>();
  var c7 = vec4<f32>();
  for (var k = 0u; k < p.vec4s; k++) {
    let a0 = x[x0 + k];
    let a1 = x[x1 + k];
    let b0 = weight(starts.x + k);
    let b1 = weight(starts.y + k);
    let b2 = weight(starts.z + k);
    let b3 = weight(starts.w + k);
    c0 += dots(subgroupBroadcast(a0, 0u), b0, b1, b2, b3);
    c1 += dots(subgroupBroadcast(a0, 1u), b0, b1, b2, b3);
    c2 += dots(subgroupBroadcast(a0, 2u), b0, b1, b2, b3);
    c3 += dots(subgroupBroadcast(a0, 3u), b0, b1, b2, b3);
    c4 += dots(subgroupBroadcast(a1, 0u), b0, b1, b2, b3);
    c5 += dots(subgroupBroadcast(a1, 1u), b0, b1, b2, b3);
    c6 += dots(subgroupBroadcast(a1, 2u), b0, b1, b2, b3);
    c7 += dots(subgroupBroadcast(a1, 3u), b0, b1, b2, b3);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = array<vec4<f32>, 8>(c0, c1, c2, c3, c4, c5, c6, c7);
  let end = select(0u, min(8u, rows - row), column < p.n);
  for (var i = 0u; i < end; i++) {
    store_vec4(row + i, column, results[i]);
  }
}
