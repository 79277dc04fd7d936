// Matrix product for adapters that compute on the CPU: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/epilogue).
//   x: f32 [rows, K]   w: [N, K] (rows COLUMN.. of the whole matrix)   y: f32 [rows, OUT_STRIDE], columns COLUMN..COLUMN+N
// A thread makes a block of 4 × 4 straight from the storage buffers: a CPU's caches do what workgroup memory does on a GPU, and
// there are no barriers, which is what costs most there. A workgroup of 8 × 8 threads: 32 rows, 32 columns.
// Needs: K (a multiple of 4), N, COLUMN, the switches of lib/epilogue; libs step, weight.*, epilogue.
// Limits: 64 invocations, 5 storage bindings. Reference: reference/matmul.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Quad>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const QUADS = K / 4u;

fn dots(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let rows = row_count();
  let row = id.y * 4u;
  let column = id.x * 4u;
  if (row >= rows || column >= N) {
    return;
  }
  // Rows and columns past the end repeat the last one; they are not stored.
  let x0 = row * QUADS;
  let x1 = min(row + 1u, rows - 1u) * QUADS;
  let x2 = min(row + 2u, rows - 1u) * QUADS;
  let x3 = min(row + 3u, rows - 1u) * QUADS;
  let w0 = column * QUADS;
  let w1 = min(column + 1u, N - 1u) * QUADS;
  let w2 = min(column + 2u, N - 1u) * QUADS;
  let w3 = min(column + 3u, N - 1u) * QUADS;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var k = 0u; k < QUADS; k++) {
    let b0 = expand(w[w0 + k]);
    let b1 = expand(w[w1 + k]);
    let b2 = expand(w[w2 + k]);
    let b3 = expand(w[w3 + k]);
    c0 += dots(x[x0 + k], b0, b1, b2, b3);
    c1 += dots(x[x1 + k], b0, b1, b2, b3);
    c2 += dots(x[x2 + k], b0, b1, b2, b3);
    c3 += dots(x[x3 + k], b0, b1, b2, b3);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: 16 copies cost seconds of compilation.
  var results = array<vec4<f32>, 4>(c0, c1, c2, c3);
  let last_row = min(4u, rows - row);
  let last_column = min(4u, N - column);
  for (var i = 0u; i < last_row; i++) {
    for (var j = 0u; j < last_column; j++) {
      store(row + i, COLUMN + column + j, results[i][j]);
    }
  }
}
