// The f16 nearest to x (ties to even), as bits. By integers, since pack2x16float may round either way; above 65519 it is infinity.
fn half_bits(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x477ff000u) {
    return sign | select(0x7c00u, 0x7e00u, magnitude > 0x7f800000u);
  }
  if (magnitude >= 0x38800000u) { // 2^-14 and more
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
  }
  if (magnitude < 0x33000000u) { // below 2^-25
    return sign;
  }
  let shift = 126u - (magnitude >> 23u); // 14 .. 24
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  return sign | ((mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift);
}

// As the KV cache holds it. What exceeds f16 is held at its largest number: infinity would spread over everything that attends to it.
// (A NaN stays one.)
fn held(x: f32) -> u32 {
  return half_bits(select(x, sign(x) * 65504.0, abs(x) > 65504.0));
}
