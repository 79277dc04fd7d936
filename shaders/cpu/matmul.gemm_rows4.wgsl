// Matrix times several rows in q8 or q4 for CPU adapters whose subgroups have 8 lanes: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue
// (lib/matmul). As matmul.gemv_columns, but a lane makes COLUMNS columns of ROWS rows: what costs most is making floats of codes, which serve
// all the rows. (SwiftShader keeps arrays in memory where a loop counts through them: there this takes four times as long.)
// Needs: ROWS, COLUMNS (even), K a multiple of 32, EVEN: whether of 64; libs matmul and its own, prologue.*, group.* (instead of weight.*),
// rows4.*, columns, lanes.*, the extension subgroups.
// Limits: LANES invocations, 7 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = id.y * ROWS;
  let column = (id.x * LANES + lane) * COLUMNS;
  let groups = p.vec4s / 8u;
  var products: array<f32, ROWS * COLUMNS>;
  var squares: array<f32, ROWS>;
  for (var group = 0u; group < groups; group += 2u) {
    var first: array<array<vec4<f32>, 8>, ROWS>;
    var second: array<array<vec4<f32>, 8>, ROWS>;
    var first_sums: array<f32, ROWS>;
    var second_sums: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
      // Rows past the end repeat the last one; they are not stored.
      let from_row = min(row + r, rows - 1u);
      var square = 0.0;
      var a: array<vec4<f32>, BRINGS>;
      var handed: array<vec4<f32>, 8>;
      first_sums[r] = bring(from_row, group, lane, &a, &square);
      hand_round(&a, &handed);
      first[r] = handed;
      second_sums[r] = bring(from_row, group + 1u, lane, &a, &square);
      hand_round(&a, &handed);
      second[r] = handed;
      squares[r] += square;
    }
    for (var c = 0u; c < p.rounds; c++) {
      // Columns past the end repeat the last one; they are not stored.
      let at = weight_row(min(column + c, p.n - 1u)) * groups + group;
      let both = EVEN || group + 1u < groups;
      let scale = scale_pair(at, both);
      let low = group_products(at, &first, &first_sums);
      let high = group_products(select(at, at + 1u, both), &second, &second_sums);
      for (var r = 0u; r < ROWS; r++) {
        let product = dot(scale, vec2<f32>(low[r], high[r]));
        for (var i = 0u; i < COLUMNS; i++) {
          products[r * COLUMNS + i] += select(0.0, product, i == c);
        }
      }
    }
  }
  if (NORM) {
    for (var r = 0u; r < ROWS; r++) {
      let factor = norm_factor(sum_of_lanes(squares[r]));
      for (var c = 0u; c < COLUMNS; c++) {
        products[r * COLUMNS + c] *= factor;
      }
    }
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = products;
  let end = min(ROWS, rows - row) * p.rounds;
  for (var i = 0u; i < end; i += 2u) {
    let c = column + i % COLUMNS;
    if (c < p.n) {
      store_pair(row + i / COLUMNS, c, vec2<f32>(results[i], results[i + 1u]));
    }
  }
}
