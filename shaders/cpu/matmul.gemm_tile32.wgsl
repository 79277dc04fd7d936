// Matrix product for adapters that compute on the CPU and have no subgroups: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A thread makes a block of 4 × 4 straight from the storage buffers: a CPU's caches do what workgroup memory does on a GPU, and
// there are no barriers, which is what costs most there. A workgroup of 8 × 8 threads: 32 rows, 32 columns.
// Needs: K a multiple of 4; libs matmul and its own, tile.
// Limits: 64 invocations, 5 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let rows = row_count();
  let row = id.y * 4u;
  let column = id.x * 4u;
  if (row >= rows || column >= p.n) {
    return;
  }
  // Rows past the end repeat the last one; they are not stored.
  let x0 = row * p.vec4s;
  let x1 = min(row + 1u, rows - 1u) * p.vec4s;
  let x2 = min(row + 2u, rows - 1u) * p.vec4s;
  let x3 = min(row + 3u, rows - 1u) * p.vec4s;
  let starts = weight_rows(column);
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var k = 0u; k < p.vec4s; k++) {
    let b0 = weight(starts.x + k);
    let b1 = weight(starts.y + k);
    let b2 = weight(starts.z + k);
    let b3 = weight(starts.w + k);
    c0 += dots(x[x0 + k], b0, b1, b2, b3);
    c1 += dots(x[x1 + k], b0, b1, b2, b3);
    c2 += dots(x[x2 + k], b0, b1, b2, b3);
    c3 += dots(x[x3 + k], b0, b1, b2, b3);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = array<vec4<f32>, 4>(c0, c1, c2, c3);
  let end = min(4u, rows - row);
  for (var i = 0u; i < end; i++) {
    store_vec4(row + i, column, results[i]);
  }
}
