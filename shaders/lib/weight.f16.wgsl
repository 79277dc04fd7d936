// Four f16 weights: element 0 in the low half of x. unpack2x16float is core WGSL: no shader-f16 needed.
alias Quad = vec2<u32>;

fn expand(q: Quad) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
