// Weights widened to f32, exactly. A thread: four elements. Needs: libs weight.f16/bf16, cast. Reference: tensor/tensor.ts, widen*.
@group(0) @binding(5) var<storage, read_write> to: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.vec4s) {
    to[p.first + id.x] = weight(id.x);
  }
}
