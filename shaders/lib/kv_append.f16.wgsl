// Keys and values in f16 that are read (lib kv_vec8.f16) and appended to, eight at a time. Needs: lib half.
@group(0) @binding(3) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<u32>>;

fn halves(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
  let high = vec4<u32>(held(a.y), held(a.w), held(b.y), held(b.w));
  return vec4<u32>(held(a.x), held(a.z), held(b.x), held(b.z)) | (high << vec4<u32>(16u));
}

// Elements 8i .. 8i + 7.
fn append_key(i: u32, a: vec4<f32>, b: vec4<f32>) {
  k[i] = halves(a, b);
}

fn append_value(i: u32, a: vec4<f32>, b: vec4<f32>) {
  v[i] = halves(a, b);
}
