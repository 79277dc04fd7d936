// What a thread of matmul.gemv takes at a time, in q4: the 32 codes of a group.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
const VEC4S = 8u;
const SCALED = true;
const OFFSET = 8.0;
alias Codes = vec4<u32>;

fn codes_at(i: u32) -> Codes {
  return w[i];
}

fn scale_at(i: u32) -> f32 {
  return unpack2x16float(scales[i / 2u] >> (16u * (i & 1u))).x;
}

// Codes 4e .. 4e + 3 of a block.
fn values(codes: Codes, e: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8((codes[e / 2u] >> (4u * (e % 2u))) & 0x0f0f0f0fu));
}
