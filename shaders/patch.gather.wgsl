// Patches as rows, so that the patch convolution (stride = kernel) is a matrix product.
//   pixels: f32 [tiles, 3, SIZE, SIZE]   y: f32 [tiles (1 + GRID²), 3 PATCH²]: row 0 of a tile is zero (the class token's place),
//   row 1 + r GRID + c is patch (r, c), flattened channel, then row, then column.
// Workgroup (block of 64 elements, row), a thread an element. Needs: SIZE, PATCH, GRID; lib step. Reference: reference/patch.
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const WIDTH = 3u * PATCH * PATCH;
const TOKENS = 1u + GRID * GRID;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= WIDTH) {
    return;
  }
  let tile = id.y / TOKENS;
  let token = id.y % TOKENS;
  var value = 0.0;
  if (token > 0u) {
    let channel = id.x / (PATCH * PATCH);
    let row = (token - 1u) / GRID * PATCH + id.x / PATCH % PATCH;
    let column = (token - 1u) % GRID * PATCH + id.x % PATCH;
    value = pixels[((tile * 3u + channel) * SIZE + row) * SIZE + column];
  }
  y[id.y * WIDTH + id.x] = value;
}
