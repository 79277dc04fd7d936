// 16 elements of a row of weights in q8 (tensor/tensor.ts): a load of 16 bytes, and a scale.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

struct Raw {
  codes: vec4<u32>,
  scale: f32,
}

// Share k of the row that is kept as `at` (lib/gemm), as it lies.
fn fetch(at: u32, k: u32) -> Raw {
  let group = (at + k) / 2u;
  return Raw(w[at + k], unpack2x16float(scales[group / 2u] >> (16u * (group % 2u))).x);
}

fn expand(raw: Raw) -> mat4x4<f32> {
  return mat4x4<f32>(
    raw.scale * vec4<f32>(unpack4xI8(raw.codes.x)),
    raw.scale * vec4<f32>(unpack4xI8(raw.codes.y)),
    raw.scale * vec4<f32>(unpack4xI8(raw.codes.z)),
    raw.scale * vec4<f32>(unpack4xI8(raw.codes.w)),
  );
}

// For dot4I8Packed.
fn signed_codes(raw: Raw) -> vec4<u32> {
  return raw.codes;
}
