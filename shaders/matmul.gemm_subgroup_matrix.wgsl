// Matrix product on matrix units: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul). Operands are rounded to f16, sums are f32.
// A workgroup of 4 subgroups makes a tile of 64 × 64; subgroup s the rows 16s .. 16s + 15, in fragments of M × N. Both operands pass
// through workgroup memory in slices of 32 along K, row by row (for w that is column by column of wᵀ); past the end of K lie zeros.
// The results leave 16 columns at a time through workgroup memory, since a thread cannot see which elements of a fragment it holds.
// Needs: M, N, K of a configuration f16 → f32 of the adapter, dividing 16, 16 and 32; WIDTH, the size of every subgroup; the
// extensions f16, subgroups, chromium_experimental_subgroup_matrix; libs matmul and its own, fragments.*.
// Limits: 4 WIDTH invocations, 14 KiB of workgroup memory, 5 storage bindings. Reference: reference/matmul.

const TILE = 64u;
const SLICE = 32u; // elements along K
const PITCH = 40u; // elements from row to row of a slice: a multiple of 16 bytes, neighbouring rows start in different banks
const THREADS = 4u * WIDTH;
const DOWN = 16u / M; // fragments of a subgroup
const ACROSS = TILE / N;

var<workgroup> xs: array<f16, 2560>;
var<workgroup> ws: array<f16, 2560>;
var<workgroup> results: array<f32, 1024>; // [64, 16]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
  let strip = index / WIDTH * 16u;
  var sums: array<Result, DOWN * ACROSS>;
  for (var k0 = 0u; k0 < p.vec4s; k0 += SLICE / 4u) {
    workgroupBarrier();
    for (var i = index; i < TILE * SLICE / 4u; i += THREADS) {
      let row = i / 8u;
      let k = k0 + i % 8u;
      // Rows and columns past the end repeat the last one; they are not stored.
      let at = min(k, p.vec4s - 1u);
      let m = min(row0 + row, rows - 1u) * p.vec4s + at;
      let n = weight_row(min(column0 + row, p.n - 1u)) * p.vec4s + at;
      let a = select(vec4<f32>(), x[m], k < p.vec4s);
      let b = select(vec4<f32>(), weight(n), k < p.vec4s);
      let slot = row * PITCH + i % 8u * 4u;
      for (var e = 0u; e < 4u; e++) {
        xs[slot + e] = f16(a[e]);
        ws[slot + e] = f16(b[e]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < SLICE; k += K) {
      for (var i = 0u; i < DOWN; i++) {
        let left = load_left((strip + i * M) * PITCH + k);
        for (var j = 0u; j < ACROSS; j++) {
          let right = load_right(j * N * PITCH + k);
          sums[i * ACROSS + j] = subgroupMatrixMultiplyAccumulate(left, right, sums[i * ACROSS + j]);
        }
      }
    }
  }
  for (var c = 0u; c < TILE; c += 16u) {
    for (var i = 0u; i < DOWN; i++) {
      for (var j = 0u; j < 16u; j += N) {
        save_result((strip + i * M) * 16u + j, sums[i * ACROSS + (c + j) / N]);
      }
    }
    workgroupBarrier();
    for (var i = index; i < TILE * 8u; i += THREADS) {
      let row = row0 + i / 8u;
      let column = column0 + c + i % 8u * 2u;
      if (row < rows && column < p.n) {
        store_pair(row, column, vec2<f32>(results[2u * i], results[2u * i + 1u]));
      }
    }
    workgroupBarrier();
  }
}
