// Keys and values in f16, eight at a time: element 0 in the low half of x. Needs: lib kv_read.f16 or kv_append.f16.
fn expanded(q: vec4<u32>) -> mat2x4<f32> {
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)),
    vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)),
  );
}

// Elements 8i .. 8i + 7.
fn key_vec8(i: u32) -> mat2x4<f32> {
  return expanded(k[i]);
}

fn value_vec8(i: u32) -> mat2x4<f32> {
  return expanded(v[i]);
}

// Elements 8i .. 8i + 3, or the four behind.
fn value_half(i: u32, second: bool) -> vec4<f32> {
  let both = v[i];
  let q = select(both.xy, both.zw, second);
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
