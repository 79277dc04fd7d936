// y = silu(gate) * up,  silu(x) = x / (1 + exp(-x)).
//   x: f32 [rows, 2 WIDTH] as gate | up   y: f32 [rows, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. Needs: WIDTH (a multiple of 4); lib step. Reference: reference/swiglu.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

const QUADS = WIDTH / 4u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= QUADS) {
    return;
  }
  let gate = x[id.y * 2u * QUADS + id.x];
  let up = x[id.y * 2u * QUADS + QUADS + id.x];
  y[id.y * QUADS + id.x] = gate / (1.0 + exp(-gate)) * up;
}
