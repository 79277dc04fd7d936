// Keys and values a vec4 a load, for heads of any width. Needs: lib kv.*.
const WIDE = 1u; // vec4s of a block

fn key_block(i: u32) -> array<vec4<f32>, WIDE> {
  return array<vec4<f32>, WIDE>(key_vec4(i));
}

fn value_block(i: u32) -> array<vec4<f32>, WIDE> {
  return array<vec4<f32>, WIDE>(value_vec4(i));
}

fn value_half(i: u32, second: bool) -> vec4<f32> {
  return value_vec4(i);
}
