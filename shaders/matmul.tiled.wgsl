// Matrix product, tiled: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/epilogue).
//   x: f32 [rows, K]   w: [N, K] (rows COLUMN.. of the whole matrix)   y: f32 [rows, OUT_STRIDE], columns COLUMN..COLUMN+N
// A workgroup of 8 × 8 threads makes a tile of 64 × 64; a thread the 8 × 8 elements (ty + 8i, tx + 8j).
// Both operands pass through workgroup memory in slices of 16 along K, as vec4s along K: a dot product needs no transpose.
// Needs: K (a multiple of 4), N, COLUMN, the switches of lib/epilogue; libs step, weight.*, epilogue.
// Limits: 64 invocations, 10 KiB of workgroup memory, 5 storage bindings. Reference: reference/matmul.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Quad>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const TILE = 64u;
const SLICE = 4u; // vec4s along K
const PITCH = 5u; // one more than SLICE: neighbouring rows start in different banks
const QUADS = K / 4u;

var<workgroup> xs: array<vec4<f32>, 320>;
var<workgroup> ws: array<vec4<f32>, 320>;

fn dots(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
}

fn store4(row: u32, rows: u32, column: u32, v: vec4<f32>) {
  if (row >= rows) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    let n = column + 8u * j;
    if (n < N) {
      store(row, COLUMN + n, v[j]);
    }
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
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
  for (var k0 = 0u; k0 < QUADS; k0 += SLICE) {
    // 256 vec4s of each operand, four a thread; outside the matrix: zeros.
    for (var i = 0u; i < 4u; i++) {
      let r = (index >> 2u) + 16u * i;
      let k = k0 + (index & 3u);
      let slot = r * PITCH + (index & 3u);
      let m = row0 + r;
      let n = column0 + r;
      xs[slot] = select(vec4<f32>(), x[min(m, rows - 1u) * QUADS + min(k, QUADS - 1u)], m < rows && k < QUADS);
      ws[slot] = select(vec4<f32>(), expand(w[min(n, N - 1u) * QUADS + min(k, QUADS - 1u)]), n < N && k < QUADS);
    }
    workgroupBarrier();
    for (var k = 0u; k < SLICE; k++) {
      let at = local.x * PITCH + k;
      let b0 = ws[at + 0u * PITCH];
      let b1 = ws[at + 8u * PITCH];
      let b2 = ws[at + 16u * PITCH];
      let b3 = ws[at + 24u * PITCH];
      let b4 = ws[at + 32u * PITCH];
      let b5 = ws[at + 40u * PITCH];
      let b6 = ws[at + 48u * PITCH];
      let b7 = ws[at + 56u * PITCH];
      let origin = local.y * PITCH + k;
      let a0 = xs[origin + 0u * PITCH];
      c0a += dots(a0, b0, b1, b2, b3);
      c0b += dots(a0, b4, b5, b6, b7);
      let a1 = xs[origin + 8u * PITCH];
      c1a += dots(a1, b0, b1, b2, b3);
      c1b += dots(a1, b4, b5, b6, b7);
      let a2 = xs[origin + 16u * PITCH];
      c2a += dots(a2, b0, b1, b2, b3);
      c2b += dots(a2, b4, b5, b6, b7);
      let a3 = xs[origin + 24u * PITCH];
      c3a += dots(a3, b0, b1, b2, b3);
      c3b += dots(a3, b4, b5, b6, b7);
      let a4 = xs[origin + 32u * PITCH];
      c4a += dots(a4, b0, b1, b2, b3);
      c4b += dots(a4, b4, b5, b6, b7);
      let a5 = xs[origin + 40u * PITCH];
      c5a += dots(a5, b0, b1, b2, b3);
      c5b += dots(a5, b4, b5, b6, b7);
      let a6 = xs[origin + 48u * PITCH];
      c6a += dots(a6, b0, b1, b2, b3);
      c6b += dots(a6, b4, b5, b6, b7);
      let a7 = xs[origin + 56u * PITCH];
      c7a += dots(a7, b0, b1, b2, b3);
      c7b += dots(a7, b4, b5, b6, b7);
    }
    workgroupBarrier();
  }
  let row = row0 + local.y;
  let column = column0 + local.x;
  store4(row + 0u, rows, column, c0a);
  store4(row + 0u, rows, column + 32u, c0b);
  store4(row + 8u, rows, column, c1a);
  store4(row + 8u, rows, column + 32u, c1b);
  store4(row + 16u, rows, column, c2a);
  store4(row + 16u, rows, column + 32u, c2b);
  store4(row + 24u, rows, column, c3a);
  store4(row + 24u, rows, column + 32u, c3b);
  store4(row + 32u, rows, column, c4a);
  store4(row + 32u, rows, column + 32u, c4b);
  store4(row + 40u, rows, column, c5a);
  store4(row + 40u, rows, column + 32u, c5b);
  store4(row + 48u, rows, column, c6a);
  store4(row + 48u, rows, column + 32u, c6b);
  store4(row + 56u, rows, column, c7a);
  store4(row + 56u, rows, column + 32u, c7b);
}
