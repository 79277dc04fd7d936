// AWQ into q8, exactly: code = q - z, in -15 .. 15; the scales are awq.scales' business (layout: tensor/tensor.ts). Needs: lib awq.
@group(0) @binding(5) var<storage, read_write> to: array<u32>;

fn put(i: u32, code: vec4<i32>, scale: f32) {
  to[i] = pack4xI8(code);
}
