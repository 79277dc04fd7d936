// Matrix product for adapters that compute on the CPU: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A thread makes a block of 8 × 8 straight from the storage buffers: a CPU's caches do what workgroup memory does on a GPU, and
// there are no barriers, which is what costs most there. A workgroup of 8 × 8 threads: 64 rows, 64 columns.
// Needs: K a multiple of 4; lib matmul and its own.
// Limits: 64 invocations, 5 storage bindings. Reference: reference/matmul.

fn dots(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let rows = row_count();
  let row = id.y * 8u;
  let column = id.x * 8u;
  if (row >= rows || column >= p.n) {
    return;
  }
  // Rows and columns past the end repeat the last one; they are not stored.
  let x0 = min(row + 0u, rows - 1u) * p.quads;
  let x1 = min(row + 1u, rows - 1u) * p.quads;
  let x2 = min(row + 2u, rows - 1u) * p.quads;
  let x3 = min(row + 3u, rows - 1u) * p.quads;
  let x4 = min(row + 4u, rows - 1u) * p.quads;
  let x5 = min(row + 5u, rows - 1u) * p.quads;
  let x6 = min(row + 6u, rows - 1u) * p.quads;
  let x7 = min(row + 7u, rows - 1u) * p.quads;
  let w0 = min(column + 0u, p.n - 1u) * p.quads;
  let w1 = min(column + 1u, p.n - 1u) * p.quads;
  let w2 = min(column + 2u, p.n - 1u) * p.quads;
  let w3 = min(column + 3u, p.n - 1u) * p.quads;
  let w4 = min(column + 4u, p.n - 1u) * p.quads;
  let w5 = min(column + 5u, p.n - 1u) * p.quads;
  let w6 = min(column + 6u, p.n - 1u) * p.quads;
  let w7 = min(column + 7u, p.n - 1u) * p.quads;
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
  for (var k = 0u; k < p.quads; k++) {
    let b0 = weight(w0 + k);
    let b1 = weight(w1 + k);
    let b2 = weight(w2 + k);
    let b3 = weight(w3 + k);
    let b4 = weight(w4 + k);
    let b5 = weight(w5 + k);
    let b6 = weight(w6 + k);
    let b7 = weight(w7 + k);
    let a0 = x[x0 + k];
    c0a += dots(a0, b0, b1, b2, b3);
    c0b += dots(a0, b4, b5, b6, b7);
    let a1 = x[x1 + k];
    c1a += dots(a1, b0, b1, b2, b3);
    c1b += dots(a1, b4, b5, b6, b7);
    let a2 = x[x2 + k];
    c2a += dots(a2, b0, b1, b2, b3);
    c2b += dots(a2, b4, b5, b6, b7);
    let a3 = x[x3 + k];
    c3a += dots(a3, b0, b1, b2, b3);
    c3b += dots(a3, b4, b5, b6, b7);
    let a4 = x[x4 + k];
    c4a += dots(a4, b0, b1, b2, b3);
    c4b += dots(a4, b4, b5, b6, b7);
    let a5 = x[x5 + k];
    c5a += dots(a5, b0, b1, b2, b3);
    c5b += dots(a5, b4, b5, b6, b7);
    let a6 = x[x6 + k];
    c6a += dots(a6, b0, b1, b2, b3);
    c6b += dots(a6, b4, b5, b6, b7);
    let a7 = x[x7 + k];
    c7a += dots(a7, b0, b1, b2, b3);
    c7b += dots(a7, b4, b5, b6, b7);
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: 64 copies cost seconds of compilation.
  var results = array<vec4<f32>, 16>(c0a, c0b, c1a, c1b, c2a, c2b, c3a, c3b, c4a, c4b, c5a, c5b, c6a, c6b, c7a, c7b);
  let last_row = min(8u, rows - row);
  let last_column = min(8u, p.n - column);
  for (var i = 0u; i < last_row; i++) {
    for (var j = 0u; j < last_column; j++) {
      store(row + i, p.column + column + j, results[2u * i + j / 4u][j % 4u]);
    }
  }
}
