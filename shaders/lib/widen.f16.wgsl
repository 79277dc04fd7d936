// Four weights in f16, two to a u32, the first in its low half. unpack2x16float is core WGSL: no shader-f16 needed.
fn widened(q: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
