// Patches as rows, so that the patch convolution (stride = kernel) is a matrix product.
//   pixels: f32 [tiles, 3, SIZE, SIZE]   y: f32 [tiles (1 + GRID²), 3 PATCH²]: row 0 of a tile is zero (the class token's place),
//   row 1 + r GRID + c is patch (r, c), flattened channel, then row, then column.
// Workgroup (block of 64 elements, row), a thread an element. Lib step. Reference: reference/patch.
struct Params {
  size: u32,
  patch_size: u32,
  grid: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> pixels: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let width = 3u * p.patch_size * p.patch_size;
  let tokens = 1u + p.grid * p.grid;
  if (id.x >= width) {
    return;
  }
  let tile = id.y / tokens;
  let token = id.y % tokens;
  var value = 0.0;
  if (token > 0u) {
    let channel = id.x / (p.patch_size * p.patch_size);
    let row = (token - 1u) / p.grid * p.patch_size + id.x / p.patch_size % p.patch_size;
    let column = (token - 1u) % p.grid * p.patch_size + id.x % p.patch_size;
    value = pixels[((tile * 3u + channel) * p.size + row) * p.size + column];
  }
  y[id.y * width + id.x] = value;
}
