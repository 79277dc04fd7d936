// Four bf16 weights: element 0 in the low half of x. A bf16 is the upper half of an f32, so the expansion is exact.
alias Quad = vec2<u32>;

fn expand(q: Quad) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
