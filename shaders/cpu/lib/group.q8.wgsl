// Weights in q8 (lib weight.q8 says how they lie), a group of 32 in two loads. A code times x is (code << 24) · (x >> 24): a signed
// byte needs no shift back down where x is scaled beforehand, which powers of two make exact.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

// For vec4 i of a group.
fn code_factors(i: u32) -> vec4<f32> {
  return vec4<f32>(0x1p-24);
}

fn word_product(word: u32, a: vec4<f32>) -> f32 {
  let high_bytes = vec4<u32>(word << 24u, (word << 16u) & 0xff000000u, (word << 8u) & 0xff000000u, word & 0xff000000u);
  return dot(vec4<f32>(bitcast<vec4<i32>>(high_bytes)), a);
}

// Σ code x of a group, for x times its factors.
fn codes_product(group: u32, x: ptr<function, array<vec4<f32>, 8>>, sum: f32) -> f32 {
  let low = w[2u * group];
  let high = w[2u * group + 1u];
  return word_product(low.x, (*x)[0]) + word_product(low.y, (*x)[1]) + word_product(low.z, (*x)[2]) + word_product(low.w, (*x)[3])
    + word_product(high.x, (*x)[4]) + word_product(high.y, (*x)[5]) + word_product(high.z, (*x)[6]) + word_product(high.w, (*x)[7]);
}
