// Codes of q4 for dot4I8Packed. Needs: lib weight.q4.

// code - 8 as a signed byte for four codes in the low halves of the bytes: bit 3 off means negative, and fills the upper five bits.
fn signed(codes: u32) -> u32 {
  return (codes & 0x07070707u) | ((~codes & 0x08080808u) * 31u);
}

// Elements 16 i .. 16 i + 15 of the part, four signed bytes each.
fn codes_of(i: u32) -> vec4<u32> {
  let a = w[2u * i];
  let b = w[2u * i + 1u];
  return vec4<u32>(signed(a), signed(a >> 4u), signed(b), signed(b >> 4u));
}
