// A group of q4 at once: its codes - 8, and its scale. Needs: lib weight.q4.
// (Signed on the way to f32: CPUs have no instruction for unsigned ones.)
fn group_codes(group: u32, codes: ptr<function, array<vec4<f32>, 8>>) {
  for (var j = 0u; j < 4u; j++) {
    let word = vec4<u32>(w[4u * group + j]);
    let low = (word >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let high = (word >> vec4<u32>(4u, 12u, 20u, 28u)) & vec4<u32>(15u);
    (*codes)[2u * j] = vec4<f32>(vec4<i32>(low) - 8);
    (*codes)[2u * j + 1u] = vec4<f32>(vec4<i32>(high) - 8);
  }
}

fn group_scale(group: u32) -> f32 {
  return unpack2x16float(scales[group / 2u])[group % 2u];
}
