// x += y, elementwise: a residual connection of its own. In the model it is an epilogue of matmul.
//   x, y: f32 [rows, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. Needs: WIDTH = 4 vec4s; lib step. Reference: the sum in float64.
struct Params {
  vec4s: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.vec4s) {
    return;
  }
  let at = id.y * p.vec4s + id.x;
  x[at] += y[at];
}
