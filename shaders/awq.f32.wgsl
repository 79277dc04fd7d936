// AWQ into f32, exactly: five bits times eleven. Needs: lib awq.
@group(0) @binding(5) var<storage, read_write> to: array<vec4<f32>>;

fn put(i: u32, code: vec4<i32>, scale: f32) {
  to[i] = vec4<f32>(code) * scale;
}
