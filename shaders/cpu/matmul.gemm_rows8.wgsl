// Matrix times up to 8 rows for CPU adapters whose subgroups have a fixed size: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue
// (lib/matmul). There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing. So in a
// workgroup of one subgroup a lane brings BRINGS of the 8 rows of x, which are handed round, and makes 2 columns of all 8 rows.
// Needs: libs matmul and its own, prologue.*, lanes.*, the extension subgroups.
// Limits: LANES invocations, 7 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = group.y * 8u;
  let column = (group.x * LANES + lane) * 2u;
  // Rows and columns past the end repeat the last one; they are not stored.
  var x_rows: array<u32, BRINGS>;
  for (var i = 0u; i < BRINGS; i++) {
    x_rows[i] = min(row + i * LANES + lane, rows - 1u) * p.vec4s;
  }
  let w0 = weight_row(min(column, p.n - 1u)) * p.vec4s;
  let w1 = weight_row(min(column + 1u, p.n - 1u)) * p.vec4s;
  var sums0: array<f32, 8>;
  var sums1: array<f32, 8>;
  var squares: array<f32, BRINGS>;
  // The gains of LANES vec4s are loaded side by side, too.
  for (var block = 0u; block < p.vec4s; block += LANES) {
    let gains = gain_at(min(block + lane, p.vec4s - 1u));
    let end = min(block + LANES, p.vec4s);
    for (var k = block; k < end; k++) {
      var gain = gains;
      if (NORM) {
        gain = subgroupShuffle(gains, k - block);
      }
      var a: array<vec4<f32>, BRINGS>;
      for (var i = 0u; i < BRINGS; i++) {
        let own = x[x_rows[i] + k];
        if (NORM) {
          squares[i] += dot(own, own);
        }
        a[i] = gained(own, gain);
      }
      add_rows(&a, weight(w0 + k), &sums0);
      add_rows(&a, weight(w1 + k), &sums1);
    }
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  let end = min(8u, rows - row);
  for (var r = 0u; r < end; r++) {
    var products = vec2<f32>(sums0[r], sums1[r]);
    if (NORM) {
      products *= norm_factor(subgroupShuffle(squares[r / LANES], r % LANES));
    }
    if (column < p.n) {
      store_pair(row + r, column, products);
    }
  }
}
