// Weights in q4: value = (code - 8) * scale, eight codes to a u32 (the first four in the low halves of its bytes), an f16 scale for
// every 32 elements of a row (tensor/tensor.ts).
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

// Elements 4i .. 4i + 3 of the part.
fn weight(i: u32) -> vec4<f32> {
  let codes = unpack4xU8((w[i / 2u] >> (4u * (i % 2u))) & 0x0f0f0f0fu);
  return (vec4<f32>(codes) - 8.0) * unpack2x16float(scales[i / 16u])[i / 8u % 2u];
}

// Elements 8i .. 8i + 7 of the part.
fn weight_pair(i: u32) -> mat2x4<f32> {
  let codes = w[i];
  let scale = unpack2x16float(scales[i / 8u])[i / 4u % 2u];
  return mat2x4<f32>(
    (vec4<f32>(unpack4xU8(codes & 0x0f0f0f0fu)) - 8.0) * scale,
    (vec4<f32>(unpack4xU8((codes >> 4u) & 0x0f0f0f0fu)) - 8.0) * scale,
  );
}
