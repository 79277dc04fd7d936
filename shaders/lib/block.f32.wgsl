// What a thread of matmul.gemv takes at a time, in f32: 4 weights.
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
const VEC4S = 1u;
const SCALED = false;
const OFFSET = 0.0;
alias Codes = vec4<f32>;

fn codes_at(i: u32) -> Codes {
  return w[i];
}

fn scale_at(i: u32) -> f32 {
  return 1.0;
}

// Weights 4e .. 4e + 3 of a block.
fn values(codes: Codes, e: u32) -> vec4<f32> {
  return codes;
}
