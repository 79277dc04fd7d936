// Operands of matrix units that are written, in f16. Elements 4i .. 4i + 3.
@group(0) @binding(6) var<storage, read_write> reals: array<vec2<u32>>;

fn keep(i: u32, v: vec4<f32>) {
  reals[i] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}
