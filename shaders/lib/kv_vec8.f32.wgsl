// Keys and values in f32, as they are, eight at a time. Needs: lib kv_read.f32 or kv_append.f32.

// Elements 8i .. 8i + 7.
fn key_vec8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(k[2u * i], k[2u * i + 1u]);
}

fn value_vec8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(v[2u * i], v[2u * i + 1u]);
}

// Elements 8i .. 8i + 3, or the four behind.
fn value_half(i: u32, second: bool) -> vec4<f32> {
  return v[2u * i + u32(second)];
}
