// Matrix product, tiled: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A workgroup of 16 × 16 threads makes a tile of 64 × 64; a thread the 4 × 4 elements (ty + 16i, 4tx + j).
// Both operands pass through workgroup memory in slices of 16 along K, as vec4s along K: a dot product needs no transpose.
// Column 4tx + j lies in row tx + 16j of the slice: neighbouring threads read neighbouring rows.
// Needs: K a multiple of 4; libs matmul and its own, tile.
// Limits: 256 invocations, 10 KiB of workgroup memory, 5 storage bindings. Reference: reference/matmul.

const TILE = 64u;
const SLICE = 4u; // vec4s along K
const PITCH = 5u; // one more than SLICE: neighbouring rows start in different banks

var<workgroup> xs: array<vec4<f32>, 320>;
var<workgroup> ws: array<vec4<f32>, 320>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let local = vec2<u32>(index % 16u, index / 16u);
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
  // The vec4 of each operand that this thread brings; outside the matrix: zeros.
  let m = row0 + (index >> 2u);
  let n = column0 + 4u * ((index >> 2u) & 15u) + (index >> 6u);
  let slot = (index >> 2u) * PITCH + (index & 3u);
  let x_row = min(m, rows - 1u) * p.vec4s;
  let w_row = weight_row(min(n, p.n - 1u)) * p.vec4s;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var k0 = 0u; k0 < p.vec4s; k0 += SLICE) {
    let k = k0 + (index & 3u);
    let at = min(k, p.vec4s - 1u);
    xs[slot] = select(vec4<f32>(), x[x_row + at], m < rows && k < p.vec4s);
    ws[slot] = select(vec4<f32>(), weight(w_row + at), n < p.n && k < p.vec4s);
    workgroupBarrier();
    for (var i = 0u; i < SLICE; i++) {
      let column = local.x * PITCH + i;
      let b0 = ws[column];
      let b1 = ws[column + 16u * PITCH];
      let b2 = ws[column + 32u * PITCH];
      let b3 = ws[column + 48u * PITCH];
      let row = local.y * PITCH + i;
      c0 += dots(xs[row], b0, b1, b2, b3);
      c1 += dots(xs[row + 16u * PITCH], b0, b1, b2, b3);
      c2 += dots(xs[row + 32u * PITCH], b0, b1, b2, b3);
      c3 += dots(xs[row + 48u * PITCH], b0, b1, b2, b3);
    }
    workgroupBarrier();
  }
  // One copy of the epilogue in a loop that compilers cannot unroll (its end is known at run time only): more copies cost
  // seconds of compilation on the CPU adapters.
  var results = array<vec4<f32>, 4>(c0, c1, c2, c3);
  let end = min(4u, 4u * rows);
  for (var i = 0u; i < end; i++) {
    let row = row0 + local.y + 16u * i;
    if (row < rows) {
      store_vec4(row, column0 + 4u * local.x, results[i]);
    }
  }
}
