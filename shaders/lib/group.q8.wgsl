// A group of q8 at once: its codes, and its scale. Needs: lib weight.q8.
fn group_codes(group: u32, codes: ptr<function, array<vec4<f32>, 8>>) {
  for (var j = 0u; j < 8u; j++) {
    (*codes)[j] = vec4<f32>(unpack4xI8(w[8u * group + j]));
  }
}

fn group_scale(group: u32) -> f32 {
  return unpack2x16float(scales[group / 2u])[group % 2u];
}
