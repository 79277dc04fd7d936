// 16 elements of a row of weights in q8 (tensor/tensor.ts): a load of 16 bytes, and a scale.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

struct Raw {
  codes: vec4<u32>,
  scale: f32,
}

// Elements 4k .. 4k + 15 of the row that begins at `row` (in vec4s), as they lie; k is a multiple of 4.
fn fetch(row: u32, k: u32) -> Raw {
  let group = (row + k) / 8u;
  return Raw(w[(row + k) / 4u], unpack2x16float(scales[group / 2u])[group % 2u]);
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
