// Weights in q4 (lib weight.q4 says how they lie), a group of 32 in one load. A code times x is (code << s) · (x >> s): codes are taken
// where they stand in their word, and x is scaled beforehand, which powers of two make exact.
// (Signed on the way to f32: CPUs have no instruction for unsigned ones.)
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

// For quad i of a group: the even ones lie in the low halves of their word's bytes, the odd ones in the high.
fn code_factors(i: u32) -> vec4<f32> {
  return select(vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24), vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 1.0), i % 2u == 1u);
}

// The codes of a word times the quads i and i + 1 of each row.
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
