// y = silu(gate) * up,  silu(x) = x / (1 + exp(-x)).
//   x: f32 [rows, 2 WIDTH] as gate | up   y: f32 [rows, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. WIDTH is 4 vec4s. Needs: lib step. Reference: reference/swiglu.
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
  let gate = x[id.y * 2u * p.vec4s + id.x];
  let up = x[id.y * 2u * p.vec4s + p.vec4s + id.x];
  // exp above 88 overflows, and WGSL does not promise that infinity comes of it.
  y[id.y * p.vec4s + id.x] = gate / (1.0 + exp(min(-gate, vec4<f32>(80.0)))) * up;
}
