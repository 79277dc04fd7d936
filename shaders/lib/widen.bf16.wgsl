// Four weights in bf16, two to a u32, the first in its low half. A bf16 is the upper half of an f32, so the expansion is exact.
fn widened(q: vec2<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
