// Weights in q4 (lib weight.q4 says how they lie), a group of 32 in one load. A code times x is (code << s) · (x >> s): codes are taken
// where they stand in their word, and x is scaled beforehand, which powers of two make exact.
// (Signed on the way to f32: CPUs have no instruction for unsigned ones.)
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

// For vec4 i of a group: the even ones lie in the low halves of their word's bytes, the odd ones in the high.
fn code_factors(i: u32) -> vec4<f32> {
  return select(vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24), vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 1.0), i % 2u == 1u);
}

fn word_product(word: u32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  let low = vec4<u32>(word) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u);
  let high = vec4<u32>(word & 0xf0u, word & 0xf000u, word & 0xf00000u, word >> 28u);
  return dot(vec4<f32>(vec4<i32>(low)), a) + dot(vec4<f32>(vec4<i32>(high)), b);
}

// Σ (code - 8) x of a group, for x times its factors and Σ x.
fn codes_product(group: u32, x: ptr<function, array<vec4<f32>, 8>>, sum: f32) -> f32 {
  let words = w[group];
  return word_product(words.x, (*x)[0], (*x)[1]) + word_product(words.y, (*x)[2], (*x)[3])
    + word_product(words.z, (*x)[4], (*x)[5]) + word_product(words.w, (*x)[6], (*x)[7]) - 8.0 * sum;
}
