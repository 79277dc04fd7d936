// Panels multiplied as they are: for lib panels.
fn operand(a: vec4<f32>, i: u32, k: u32) -> vec4<f32> {
  return a;
}
