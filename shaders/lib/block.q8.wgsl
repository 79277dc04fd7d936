// What a thread of matmul.gemv takes at a time, in q8: 16 codes, half a group. A code plus 128 is a byte, which GPUs turn into a
// float in one instruction.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
const VEC4S = 4u;
const SCALED = true;
const OFFSET = 128.0;
alias Codes = vec4<u32>;

fn codes_at(i: u32) -> Codes {
  return w[i] ^ vec4<u32>(0x80808080u);
}

fn scale_at(i: u32) -> f32 {
  return unpack2x16float(scales[i / 4u] >> (8u * (i & 2u))).x;
}

// Codes 4e .. 4e + 3 of a block.
fn values(codes: Codes, e: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(codes[e]));
}
