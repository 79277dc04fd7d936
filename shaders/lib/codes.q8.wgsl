// Codes of q8 for dot4I8Packed. Needs: lib weight.q8.

// Elements 16 i .. 16 i + 15 of the part, four signed bytes each.
fn codes_of(i: u32) -> vec4<u32> {
  return vec4<u32>(w[4u * i], w[4u * i + 1u], w[4u * i + 2u], w[4u * i + 3u]);
}
