// Weights in q8: value = code * scale, four codes to a u32, an f16 scale for every 32 elements of a row (tensor/tensor.ts).
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

// Elements 4i .. 4i + 3 of the part.
fn weight(i: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(w[i])) * unpack2x16float(scales[i / 16u])[i / 8u % 2u];
}

// Elements 8i .. 8i + 7 of the part.
fn weight_pair(i: u32) -> mat2x4<f32> {
  let scale = unpack2x16float(scales[i / 8u])[i / 4u % 2u];
  return mat2x4<f32>(vec4<f32>(unpack4xI8(w[2u * i])) * scale, vec4<f32>(unpack4xI8(w[2u * i + 1u])) * scale);
}
