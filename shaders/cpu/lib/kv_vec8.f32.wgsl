// Keys and values in f32, as they are, eight at a time.
@group(0) @binding(3) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;

// Elements 8i .. 8i + 7.
fn key_vec8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(k[2u * i], k[2u * i + 1u]);
}

fn value_vec8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(v[2u * i], v[2u * i + 1u]);
}
