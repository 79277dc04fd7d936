// Pixel unshuffle by 2 (ps_version v2), dropping the class token: four neighbouring tokens become one of four times the width,
//   y[r, c] = x[2r, 2c] | x[2r, 2c + 1] | x[2r + 1, 2c] | x[2r + 1, 2c + 1].
//   x: f32 [tiles (1 + GRID²), WIDTH]   y: f32 [tiles (GRID/2)², 4 WIDTH]
// Workgroup (block of 64 vec4s, row of y), a thread a vec4. Needs: WIDTH (a multiple of 4), GRID (even); lib step. Reference: reference/patch.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

const QUADS = WIDTH / 4u;
const SIDE = GRID / 2u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= 4u * QUADS) {
    return;
  }
  let tile = id.y / (SIDE * SIDE);
  let token = id.y % (SIDE * SIDE);
  let block = id.x / QUADS;
  let row = token / SIDE * 2u + block / 2u;
  let column = token % SIDE * 2u + block % 2u;
  let origin = tile * (1u + GRID * GRID) + 1u + row * GRID + column;
  y[id.y * 4u * QUADS + id.x] = x[origin * QUADS + id.x % QUADS];
}
