// What matmul.gemv does at one step along K: a vec4 of x against the vec4s of four rows of w.
// Needs: ROWS; libs matmul and its own, prologue.*.
const K_STEP = 1u; // vec4s a step

// For one row.
fn row_products(k: u32, x_row: u32, w_rows: vec4<u32>, squares: ptr<function, f32>) -> vec4<f32> {
  let own = x[x_row + k];
  if (NORM) {
    *squares += dot(own, own);
  }
  let a = gained(own, gain_at(k));
  return vec4<f32>(dot(a, weight(w_rows.x + k)), dot(a, weight(w_rows.y + k)), dot(a, weight(w_rows.z + k)), dot(a, weight(w_rows.w + k)));
}

// For ROWS rows: each weight is read once.
fn accumulate(
  k: u32,
  x_rows: ptr<function, array<u32, ROWS>>,
  w_rows: vec4<u32>,
  sums: ptr<function, array<vec4<f32>, COUNT>>,
  squares: ptr<function, array<f32, ROWS>>,
) {
  let b0 = weight(w_rows.x + k);
  let b1 = weight(w_rows.y + k);
  let b2 = weight(w_rows.z + k);
  let b3 = weight(w_rows.w + k);
  let gain = gain_at(k);
  for (var r = 0u; r < ROWS; r++) {
    let own = x[(*x_rows)[r] + k];
    if (NORM) {
      (*squares)[r] += dot(own, own);
    }
    let a = gained(own, gain);
    (*sums)[r] += vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
  }
}
