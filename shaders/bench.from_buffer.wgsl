// What bench.stream reads: a buffer. x: f32 [4 VEC4S].
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

fn vec4_at(i: u32) -> vec4<f32> {
  return x[i];
}
