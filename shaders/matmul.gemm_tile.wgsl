// Matrix product in f32, tiled: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/gemm).
// A workgroup of 256 threads makes a tile of TM × TN (64 or 128 each), thread (tx, ty) of 16 × 16 the rows 64b + 4ty + i and the columns
// 64b + 4tx + j. Both operands pass through workgroup memory in slices of BK along K: for each k the rows of x, then those of w. A thread
// brings 16 elements of one row by loads of 16 bytes, and reads four neighbouring rows at once: compilers see that these lie at a multiple of 16.
// Needs: TM, TN, BK, EVEN (whether K is a multiple of 32); libs matmul, share.*, gemm. K a multiple of 4.
// Limits: 256 invocations, 4 (TM + TN) BK bytes of workgroup memory, 7 storage bindings. Reference: reference/matmul.
const BM = TM / 64u; // blocks of 64
const BN = TN / 64u;
const SLOTS = TM + TN;
const SHARES = SLOTS * BK / 16u;

var<workgroup> tiles: array<f32, SLOTS * BK>; // [k, slot]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let tx = index % 16u;
  let ty = index / 16u;
  let row0 = group.y * TM;
  let column0 = group.x * TN;
  let slot = index % SLOTS;
  let unit = index / SLOTS; // of 16 elements
  let brings_x = slot < TM;
  // Rows and columns past the end repeat the last one; they are not stored.
  let at = row_at(select(weight_row(min(column0 + slot % TM, p.n - 1u)), min(row0 + slot, row_count() - 1u), brings_x));
  let slices = slices_of(group.z, groups.z, BK);
  var c: array<vec4<f32>, 4u * BM * BN>; // [block of rows, row, block of columns]
  for (var t = slices.y; t > 0u; t--) {
    let k = (slices.x - t) * (BK / 16u) + unit;
    var share: mat4x4<f32>;
    if (brings_x) {
      share = x_share(at, k);
    } else if (SHARES == 256u || index < SHARES) {
      share = expand(fetch(at, k));
    }
    workgroupBarrier();
    if (SHARES == 256u || index < SHARES) {
      for (var i = 0u; i < 16u; i++) {
        tiles[(16u * unit + i) * SLOTS + slot] = share[i / 4u][i % 4u];
      }
    }
    workgroupBarrier();
    for (var k1 = 0u; k1 < BK; k1++) { // not two at a time: Intel's registers do not hold both
      let xk = k1 * SLOTS + 4u * ty;
      let wk = k1 * SLOTS + TM + 4u * tx;
      for (var n = 0u; n < BN; n++) {
        let b = vec4<f32>(tiles[wk + 64u * n], tiles[wk + 64u * n + 1u], tiles[wk + 64u * n + 2u], tiles[wk + 64u * n + 3u]);
        for (var m = 0u; m < 4u * BM; m++) {
          let r = m * BN + n;
          c[r] = fma(vec4<f32>(tiles[xk + m / 4u * 64u + m % 4u]), b, c[r]);
        }
      }
    }
  }
  // One copy of the epilogue in a loop that stays one: the results move up by one place each time, since an index would put them into memory.
  for (var t = rounds(4u * BM * BN); t > 0u; t--) {
    let e = 4u * BM * BN - t;
    let row = row0 + 64u * (e / (4u * BN)) + 4u * ty + (e / BN) % 4u;
    finish_vec4(row, column0 + 64u * (e % BN) + 4u * tx, c[0], group.z, groups.z);
    for (var i = 1u; i < 4u * BM * BN; i++) {
      c[i - 1u] = c[i];
    }
  }
}
