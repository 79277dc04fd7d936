// What a thread of matmul.gemv takes at a time, in bf16 and in f16: 16 weights, two to a u32. Needs: lib widen.*.
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
const VEC4S = 4u;
const SCALED = false;
const OFFSET = 0.0;
alias Codes = array<vec4<u32>, 2>;

fn codes_at(i: u32) -> Codes {
  return Codes(w[2u * i], w[2u * i + 1u]);
}

fn scale_at(i: u32) -> f32 {
  return 1.0;
}

// Weights 4e .. 4e + 3 of a block.
fn values(codes: Codes, e: u32) -> vec4<f32> {
  let c = select(codes[0], codes[1], e >= 2u);
  return widened(select(c.xy, c.zw, (e & 1u) == 1u));
}
