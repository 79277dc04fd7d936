// 16 elements of a row of weights in q4 (tensor/tensor.ts): a load of 8 bytes, and a scale.
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

struct Raw {
  codes: vec2<u32>,
  scale: f32,
}

// Share k of the row that is kept as `at` (lib/gemm), as it lies.
fn fetch(at: u32, k: u32) -> Raw {
  let group = (at + k) / 2u;
  return Raw(w[at + k], unpack2x16float(scales[group / 2u] >> (16u * (group % 2u))).x);
}

fn expand(raw: Raw) -> mat4x4<f32> {
  let q = raw.codes;
  return mat4x4<f32>(
    values(q.x, raw.scale),
    values(q.x >> 4u, raw.scale),
    values(q.y, raw.scale),
    values(q.y >> 4u, raw.scale),
  );
}

fn values(q: u32, s: f32) -> vec4<f32> {
  return fma(vec4<f32>(unpack4xU8(q & 0x0f0f0f0fu)), vec4<f32>(s), vec4<f32>(-8.0 * s)); // exact, as each of its steps is
}

// code - 8 as signed bytes, for dot4I8Packed: code + 0x78 is 0x78 .. 0x87, so that no byte carries.
fn signed_codes(raw: Raw) -> vec4<u32> {
  let codes = vec4<u32>(raw.codes.x, raw.codes.x >> 4u, raw.codes.y, raw.codes.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
  return (codes + vec4<u32>(0x78787878u)) ^ vec4<u32>(0x80808080u);
}
