// Weights in f16, four at a time: element 0 in the low half of x. unpack2x16float is core WGSL: no shader-f16 needed.
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;

// Elements 4i .. 4i + 3 of the part.
fn weight(i: u32) -> vec4<f32> {
  let q = w[i];
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
