// Operands of matrix units that are written, in f32. Elements 4i .. 4i + 3.
@group(0) @binding(6) var<storage, read_write> reals: array<vec4<f32>>;

fn keep(i: u32, v: vec4<f32>) {
  reals[i] = v;
}
