// Keys and values 16 bytes a load, for heads whose width is a multiple of 8. Needs: lib kv_vec8.* with what it needs.
const WIDE = 2u; // vec4s of a block

fn key_block(i: u32) -> array<vec4<f32>, WIDE> {
  let both = key_vec8(i);
  return array<vec4<f32>, WIDE>(both[0], both[1]);
}

fn value_block(i: u32) -> array<vec4<f32>, WIDE> {
  let both = value_vec8(i);
  return array<vec4<f32>, WIDE>(both[0], both[1]);
}
