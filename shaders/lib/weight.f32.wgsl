// Weights in f32, as they are, four at a time.
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;

// Elements 4i .. 4i + 3 of the part.
fn weight(i: u32) -> vec4<f32> {
  return w[i];
}
