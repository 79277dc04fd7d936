// Weights in bf16, four at a time: element 0 in the low half of x. A bf16 is the upper half of an f32, so the expansion is exact.
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;

// Elements 4i .. 4i + 3 of the part.
fn weight(i: u32) -> vec4<f32> {
  let q = w[i];
  return bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
