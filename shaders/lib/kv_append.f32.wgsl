// Keys and values in f32 that are read (lib kv_vec8.f32) and appended to, eight at a time.
@group(0) @binding(3) var<storage, read_write> k: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;

// Elements 8i .. 8i + 7.
fn append_key(i: u32, a: vec4<f32>, b: vec4<f32>) {
  k[2u * i] = a;
  k[2u * i + 1u] = b;
}

fn append_value(i: u32, a: vec4<f32>, b: vec4<f32>) {
  v[2u * i] = a;
  v[2u * i + 1u] = b;
}
