// What matmul.gemv does at one step along K: two vec4s of x against those of four rows of w.
// For formats whose words or scales hold more than a vec4: each is read once.
// Needs: ROWS; libs matmul and its own (with weight_pair), prologue.*.
const K_STEP = 2u; // vec4s a step

fn dot8(a: vec4<f32>, c: vec4<f32>, b: mat2x4<f32>) -> f32 {
  return dot(a, b[0]) + dot(c, b[1]);
}

// For one row.
fn row_products(k: u32, x_row: u32, w_rows: vec4<u32>, squares: ptr<function, f32>) -> vec4<f32> {
  let own0 = x[x_row + k];
  let own1 = x[x_row + k + 1u];
  if (NORM) {
    *squares += dot(own0, own0) + dot(own1, own1);
  }
  let a = gained(own0, gain_at(k));
  let c = gained(own1, gain_at(k + 1u));
  let at = (w_rows + k) / 2u;
  return vec4<f32>(
    dot8(a, c, weight_pair(at.x)),
    dot8(a, c, weight_pair(at.y)),
    dot8(a, c, weight_pair(at.z)),
    dot8(a, c, weight_pair(at.w)),
  );
}

// For ROWS rows: each weight is read once.
fn accumulate(
  k: u32,
  x_rows: ptr<function, array<u32, ROWS>>,
  w_rows: vec4<u32>,
  sums: ptr<function, array<vec4<f32>, COUNT>>,
  squares: ptr<function, array<f32, ROWS>>,
) {
  let b0 = weight_pair((w_rows.x + k) / 2u);
  let b1 = weight_pair((w_rows.y + k) / 2u);
  let b2 = weight_pair((w_rows.z + k) / 2u);
  let b3 = weight_pair((w_rows.w + k) / 2u);
  let gain0 = gain_at(k);
  let gain1 = gain_at(k + 1u);
  for (var r = 0u; r < ROWS; r++) {
    let own0 = x[(*x_rows)[r] + k];
    let own1 = x[(*x_rows)[r] + k + 1u];
    if (NORM) {
      (*squares)[r] += dot(own0, own0) + dot(own1, own1);
    }
    let a = gained(own0, gain0);
    let c = gained(own1, gain1);
    (*sums)[r] += vec4<f32>(dot8(a, c, b0), dot8(a, c, b1), dot8(a, c, b2), dot8(a, c, b3));
  }
}
