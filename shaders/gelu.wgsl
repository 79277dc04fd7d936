// y = gelu(x), elementwise (lib/gelu). In the model it is an epilogue of matmul.
//   x, y: f32 [rows, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. Needs: WIDTH = 4 vec4s; libs step, gelu. Reference: reference/gelu.
struct Params {
  vec4s: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.vec4s) {
    return;
  }
  let at = id.y * p.vec4s + id.x;
  let v = x[at];
  y[at] = vec4<f32>(gelu(v.x), gelu(v.y), gelu(v.z), gelu(v.w));
}
