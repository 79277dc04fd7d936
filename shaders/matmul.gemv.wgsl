// Matrix times few rows: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A workgroup of WIDTH threads makes 4 columns of ROWS rows (at most WIDTH): its threads stride along K together, side by side, so the
// weights are read once for all the rows; then their sums are added up by one of lib/combine.*.
// With a norm in front (prologue.norm) the squares of the rows are added up as COUNT - ROWS further sums, four rows to a vec4.
// Needs: ROWS, WIDTH; libs matmul and its own, prologue.*, combine.*, k_step.vec4 (K a multiple of 4) or k_step.vec8 (of 8).
// Limits: WIDTH invocations, 7 storage bindings, and what combine needs. Reference: reference/matmul.

const COUNT = ROWS + select(0u, (ROWS + 3u) / 4u, NORM);

fn at(column: u32) -> u32 {
  return weight_row(min(column, p.n - 1u)) * p.vec4s;
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let rows = row_count();
  let row = group.y * ROWS;
  let column = group.x * 4u;
  // Rows and columns past the end repeat the last one; they are not stored.
  var x_rows: array<u32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    x_rows[r] = min(row + r, rows - 1u) * p.vec4s;
  }
  let w_rows = vec4<u32>(at(column), at(column + 1u), at(column + 2u), at(column + 3u));
  var sums: array<vec4<f32>, COUNT>;
  if (ROWS == 1u) {
    // Variables of their own: an array stays in memory on some adapters (SwiftShader).
    var sum = vec4<f32>();
    var square = 0.0;
    for (var k = index * K_STEP; k < p.vec4s; k += WIDTH * K_STEP) {
      sum += row_products(k, x_rows[0], w_rows, &square);
    }
    sums[COUNT - 1u] = vec4<f32>(square, 0.0, 0.0, 0.0);
    sums[0] = sum;
  } else {
    var squares: array<f32, ROWS>;
    for (var k = index * K_STEP; k < p.vec4s; k += WIDTH * K_STEP) {
      accumulate(k, &x_rows, w_rows, &sums, &squares);
    }
    for (var i = ROWS; i < COUNT; i++) {
      let r = (i - ROWS) * 4u;
      // Past the last row (ROWS = 2) it is repeated; nobody asks for that one.
      sums[i] = vec4<f32>(squares[r], squares[r + 1u], squares[min(r + 2u, ROWS - 1u)], squares[min(r + 3u, ROWS - 1u)]);
    }
  }
  combine(&sums, index);
  // Thread r stores row r.
  if (index < min(ROWS, rows - row)) {
    var total = combined(&sums, index);
    if (NORM) {
      total *= norm_factor(combined(&sums, ROWS + index / 4u)[index % 4u]);
    }
    store_pair(row + index, column, total.xy);
    if (column + 2u < p.n) {
      store_pair(row + index, column + 2u, total.zw);
    }
  }
}
