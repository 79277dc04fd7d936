// Keys and values in f16, four at a time: element 0 in the low half of x. unpack2x16float is core WGSL: no shader-f16 needed.
@group(0) @binding(3) var<storage, read> k: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> v: array<vec2<u32>>;

// Elements 4i .. 4i + 3.
fn key_vec4(i: u32) -> vec4<f32> {
  let q = k[i];
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}

fn value_vec4(i: u32) -> vec4<f32> {
  let q = v[i];
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
