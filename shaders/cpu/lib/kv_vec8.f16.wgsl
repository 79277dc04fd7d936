// Keys and values in f16, eight at a time: element 0 in the low half of x. For kernels that gain from loads of 16 bytes.
@group(0) @binding(3) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<u32>>;

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
