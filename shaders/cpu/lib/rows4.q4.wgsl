// Weights in q4 times several rows: codes become floats once for all of them. Needs: ROWS, lib group.q4.

// The codes of a word times the vec4s i and i + 1 of each row.
fn add_word(word: u32, i: u32, x: ptr<function, array<array<vec4<f32>, 8>, ROWS>>, to: ptr<function, array<f32, ROWS>>) {
  let low = vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u)));
  let high = vec4<f32>(vec4<i32>(vec4<u32>(word & 0xf0u, word & 0xf000u, word & 0xf00000u, word >> 28u)));
  for (var r = 0u; r < ROWS; r++) {
    (*to)[r] += dot(low, (*x)[r][i]) + dot(high, (*x)[r][i + 1u]);
  }
}

// Σ (code - 8) x of a group for each row, for x times its factors and Σ x.
fn group_products(group: u32, x: ptr<function, array<array<vec4<f32>, 8>, ROWS>>, sums: ptr<function, array<f32, ROWS>>) -> array<f32, ROWS> {
  let words = w[group];
  var products: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    products[r] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
  }
  add_word(words.x, 0u, x, &products);
  add_word(words.y, 2u, x, &products);
  add_word(words.z, 4u, x, &products);
  add_word(words.w, 6u, x, &products);
  for (var r = 0u; r < ROWS; r++) {
    products[r] -= 8.0 * (*sums)[r];
  }
  return products;
}
