// Heads of q and k as the projection gives them: what lib/head_norm.rms has, doing nothing.
fn inverse_rms(index: u32, origin: u32) -> f32 {
  return 1.0;
}

fn head_weight(key: bool, j: u32) -> vec2<f32> {
  return vec2<f32>(1.0);
}
