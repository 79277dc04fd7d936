// Pixel unshuffle by 2 (ps_version v2), dropping the class token: four neighbouring tokens become one of four times the width,
//   y[r, c] = x[2r, 2c] | x[2r, 2c + 1] | x[2r + 1, 2c] | x[2r + 1, 2c + 1].
//   x: f32 [tiles (1 + GRID²), WIDTH]   y: f32 [tiles (GRID/2)², 4 WIDTH]
// Workgroup (block of 64 vec4s, row of y), a thread a vec4. WIDTH is 4 vec4s, GRID is even. Needs: lib step. Reference: reference/patch.
struct Params {
  vec4s: u32,
  grid: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= 4u * p.vec4s) {
    return;
  }
  let tile = id.y / ((p.grid / 2u) * (p.grid / 2u));
  let token = id.y % ((p.grid / 2u) * (p.grid / 2u));
  let block = id.x / p.vec4s;
  let row = token / (p.grid / 2u) * 2u + block / 2u;
  let column = token % (p.grid / 2u) * 2u + block % 2u;
  let origin = tile * (1u + p.grid * p.grid) + 1u + row * p.grid + column;
  y[id.y * 4u * p.vec4s + id.x] = x[origin * p.vec4s + id.x % p.vec4s];
}
