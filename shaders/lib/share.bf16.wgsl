// 16 elements of a row of weights in bf16: two loads of 16 bytes. K is a multiple of 32. Needs: lib widen.bf16.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;

struct Raw {
  a: vec4<u32>,
  b: vec4<u32>,
}

// Share k of the row that is kept as `at` (lib/gemm), as it lies.
fn fetch(at: u32, k: u32) -> Raw {
  return Raw(w[2u * (at + k)], w[2u * (at + k) + 1u]);
}

fn expand(raw: Raw) -> mat4x4<f32> {
  return mat4x4<f32>(widened(raw.a.xy), widened(raw.a.zw), widened(raw.b.xy), widened(raw.b.zw));
}
