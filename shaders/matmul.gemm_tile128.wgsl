// Matrix product in large tiles: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A workgroup of 16 × 16 threads makes a tile of 128 × 128; thread (tx, ty) the 8 × 8 elements of the rows 4ty + i and 64 + 4ty + i
// and the columns 4tx + j and 64 + 4tx + j. Both operands pass through workgroup memory in slices of 16 along K, transposed: a vec4
// holds one k of four neighbouring rows, so that a thread's 64 products take four loads. The first 128 threads bring x, the others w,
// each a block of 4 rows × 4 k. Blocks lie shuffled (the exclusive or): neighbouring threads write to different banks.
// Needs: K a multiple of 4; libs matmul and its own, tile, tile.f32 or tile.f16.
// Limits: 256 invocations, 16 KiB of workgroup memory (f16: 8), 5 storage bindings. Reference: reference/matmul.

const TILE = 128u;
const SLICE = 4u; // vec4s along K
const BLOCKS = 32u; // of four rows

var<workgroup> xs: array<Tile, 512>;
var<workgroup> ws: array<Tile, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let local = vec2<u32>(index % 16u, index / 16u);
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
  let brings_x = index < 128u;
  let k_lane = index & 3u;
  let block = (index >> 2u) & 31u;
  let slot = k_lane * 4u * BLOCKS + (block ^ (k_lane << 1u));
  // Rows and columns past the end repeat the last one; they are not stored.
  let first = select(column0, row0, brings_x) + 4u * block;
  let last = select(p.n, rows, brings_x) - 1u;
  var at = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  if (!brings_x) {
    at = vec4<u32>(weight_row(at.x), weight_row(at.y), weight_row(at.z), weight_row(at.w));
  }
  at *= p.vec4s;
  var c0a = vec4<f32>();
  var c0b = vec4<f32>();
  var c1a = vec4<f32>();
  var c1b = vec4<f32>();
  var c2a = vec4<f32>();
  var c2b = vec4<f32>();
  var c3a = vec4<f32>();
  var c3b = vec4<f32>();
  var c4a = vec4<f32>();
  var c4b = vec4<f32>();
  var c5a = vec4<f32>();
  var c5b = vec4<f32>();
  var c6a = vec4<f32>();
  var c6b = vec4<f32>();
  var c7a = vec4<f32>();
  var c7b = vec4<f32>();
  for (var k0 = 0u; k0 < p.vec4s; k0 += SLICE) {
    let k = k0 + k_lane;
    var b = mat4x4<f32>();
    if (k < p.vec4s) {
      if (brings_x) {
        b = mat4x4<f32>(x[at.x + k], x[at.y + k], x[at.z + k], x[at.w + k]);
      } else {
        b = mat4x4<f32>(weight(at.x + k), weight(at.y + k), weight(at.z + k), weight(at.w + k));
      }
    }
    b = transpose(b);
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
      if (brings_x) {
        xs[slot + i * BLOCKS] = Tile(b[i]);
      } else {
        ws[slot + i * BLOCKS] = Tile(b[i]);
      }
    }
    workgroupBarrier();
    for (var q = 0u; q < SLICE; q++) {
      let ty = q * 4u * BLOCKS + (local.y ^ (q << 1u));
      let tx = q * 4u * BLOCKS + (local.x ^ (q << 1u));
      for (var i = 0u; i < 4u * BLOCKS; i += BLOCKS) {
        let a0 = vec4<f32>(xs[ty + i]);
        let a1 = vec4<f32>(xs[ty + i + 16u]);
        let b0 = vec4<f32>(ws[tx + i]);
        let b1 = vec4<f32>(ws[tx + i + 16u]);
        c0a += a0[0] * b0;
        c0b += a0[0] * b1;
        c1a += a0[1] * b0;
        c1b += a0[1] * b1;
        c2a += a0[2] * b0;
        c2b += a0[2] * b1;
        c3a += a0[3] * b0;
        c3b += a0[3] * b1;
        c4a += a1[0] * b0;
        c4b += a1[0] * b1;
        c5a += a1[1] * b0;
        c5b += a1[1] * b1;
        c6a += a1[2] * b0;
        c6b += a1[2] * b1;
        c7a += a1[3] * b0;
        c7b += a1[3] * b1;
      }
    }
  }
  // One copy of the epilogue in a loop that compilers cannot unroll: more copies cost seconds of compilation on the CPU adapters.
  var results = array<vec4<f32>, 16>(c0a, c0b, c1a, c1b, c2a, c2b, c3a, c3b, c4a, c4b, c5a, c5b, c6a, c6b, c7a, c7b);
  let end = min(8u, 8u * rows);
  for (var i = 0u; i < end; i++) {
    let row = row0 + 4u * local.y + (i & 3u) + (i >> 2u) * 64u;
    if (row < rows) {
      store_vec4(row, column0 + 4u * local.x, results[2u * i]);
      store_vec4(row, column0 + 4u * local.x + 64u, results[2u * i + 1u]);
    }
  }
}
