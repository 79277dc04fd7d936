// Keys and values in f32, as they are, four at a time.
@group(0) @binding(3) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;

// Elements 4i .. 4i + 3.
fn key_vec4(i: u32) -> vec4<f32> {
  return k[i];
}

fn value_vec4(i: u32) -> vec4<f32> {
  return v[i];
}
