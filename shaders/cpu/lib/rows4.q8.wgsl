// Weights in q8 times several rows: codes become floats once for all of them. Needs: ROWS, lib group.q8.

// The codes of a word times vec4 i of each row.
fn add_word(word: u32, i: u32, x: ptr<function, array<array<vec4<f32>, 8>, ROWS>>, to: ptr<function, array<f32, ROWS>>) {
  let shifted = vec4<u32>(word << 24u, (word << 16u) & 0xff000000u, (word << 8u) & 0xff000000u, word & 0xff000000u);
  let codes = vec4<f32>(bitcast<vec4<i32>>(shifted));
  for (var r = 0u; r < ROWS; r++) {
    (*to)[r] += dot(codes, (*x)[r][i]);
  }
}

// Σ code x of a group for each row, for x times its factors.
fn group_products(group: u32, x: ptr<function, array<array<vec4<f32>, 8>, ROWS>>, sums: ptr<function, array<f32, ROWS>>) -> array<f32, ROWS> {
  let low = w[2u * group];
  let high = w[2u * group + 1u];
  var products: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    products[r] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
  }
  add_word(low.x, 0u, x, &products);
  add_word(low.y, 1u, x, &products);
  add_word(low.z, 2u, x, &products);
  add_word(low.w, 3u, x, &products);
  add_word(high.x, 4u, x, &products);
  add_word(high.y, 5u, x, &products);
  add_word(high.z, 6u, x, &products);
  add_word(high.w, 7u, x, &products);
  return products;
}
