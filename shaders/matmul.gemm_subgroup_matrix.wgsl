// Matrix product on matrix units: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/gemm). Sums are f32.
// Operands are Reals, f16 mostly. To lose nothing by that they lie in two parts, hi + lo = the f32 to 2^-22: x where XPARTS is 2 (times 2^-4 where
// SHRINK, for values up to 10^6), w where WPARTS is (formats that f16 does not hold); lo · lo is left out.
// A workgroup of GM × GN subgroups makes a tile of TM × TN, each subgroup FM × FN fragments of M × N. A slice of BK along K lies in
// workgroup memory row by row (for w that is column by column of wᵀ). Results leave a fragment
// at a time through workgroup memory, since a thread cannot see which elements of a fragment it holds.
// Needs: TM, TN, BK, GM, GN; M, N, K of a configuration of the adapter; WIDTH, the size of every subgroup; XPARTS, WPARTS, SHRINK, EVEN; the
// extensions subgroups, chromium_experimental_subgroup_matrix; Real; libs matmul, share.*, gemm and its own, fragments.*.
// Limits: GM GN WIDTH invocations, 7 storage bindings, 2 (XPARTS TM + WPARTS TN) PITCH + 4 GM GN M N bytes of workgroup memory where Reals are f16.
// Reference: reference/matmul.
const PITCH = BK + 8u; // elements from row to row of a slice: a multiple of 16 bytes, neighbouring rows start in different banks
const THREADS = GM * GN * WIDTH;
const UNITS = BK / 16u; // shares of a row
const XS = TM * UNITS / THREADS; // shares of a thread
const WS = TN * UNITS / THREADS;
const XPARTS = min(PRODUCTS, 2u);
const WPARTS = max(PRODUCTS, 2u) - 1u;
const FM = TM / GM / M;
const FN = TN / GN / N;

alias Left = subgroup_matrix_left<Real, K, M>;
alias Right = subgroup_matrix_right<Real, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

var<workgroup> xs: array<Real, XPARTS * TM * PITCH>;
var<workgroup> ws: array<Real, WPARTS * TN * PITCH>;
var<workgroup> results: array<f32, GM * GN * M * N>;

// The part of a number that f16 holds, by its bits: compilers take f32(f16(v)) for v.
fn top(v: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(v) & 0xffffe000u);
}

// Where a row of x and a column of the product begin. Past the end they repeat the last one; they are not stored.
fn x_begin(row: u32) -> u32 {
  return row_at(min(row, row_count() - 1u));
}

fn w_begin(column: u32) -> u32 {
  return row_at(weight_row(min(column, p.n - 1u)));
}

@compute @workgroup_size(GM * WIDTH, GN)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row0 = group.y * TM;
  let column0 = group.x * TN;
  let gm = local.x / WIDTH;
  let left0 = gm * (TM / GM) * PITCH;
  let right0 = local.y * (TN / GN) * PITCH;
  let slices = slices_of(group.z, groups.z, BK);
  // Kept where K needs no care at its end; else looked up in every slice, for want of a register.
  var x_rows: array<u32, XS>;
  var w_rows: array<u32, WS>;
  for (var i = 0u; i < XS; i++) {
    x_rows[i] = x_begin(row0 + (index + i * THREADS) / UNITS);
  }
  for (var i = 0u; i < WS; i++) {
    w_rows[i] = w_begin(column0 + (index + i * THREADS) / UNITS);
  }
  var c: array<Result, FM * FN>;
  var k = (slices.x - slices.y) * UNITS + index % UNITS; // the share that this thread brings of a row
  for (var t = slices.y; t > 0u; t--) {
    for (var i = 0u; i < WS; i++) {
      let share = expand(fetch(select(w_begin(column0 + (index + i * THREADS) / UNITS), w_rows[i], EVEN), k));
      for (var e = 0u; e < 16u; e++) {
        let at = (index + i * THREADS) / UNITS * PITCH + index % UNITS * 16u + e;
        let v = share[e / 4u][e % 4u];
        let hi = select(v, top(v), WPARTS > 1u);
        ws[at] = Real(hi);
        if (WPARTS > 1u) {
          ws[(WPARTS - 1u) * TN * PITCH + at] = Real(v - hi);
        }
      }
    }
    for (var i = 0u; i < XS; i++) {
      let share = x_share(select(x_begin(row0 + (index + i * THREADS) / UNITS), x_rows[i], EVEN), k);
      for (var e = 0u; e < 16u; e++) {
        let at = (index + i * THREADS) / UNITS * PITCH + index % UNITS * 16u + e;
        let v = select(1.0, 0.0625, SHRINK) * share[e / 4u][e % 4u];
        let hi = select(v, top(v), XPARTS > 1u);
        xs[at] = Real(hi);
        if (XPARTS > 1u) {
          xs[(XPARTS - 1u) * TM * PITCH + at] = Real(v - hi);
        }
      }
    }
    workgroupBarrier();
    for (var f = 0u; f < BK / K; f++) {
      for (var product = 0u; product < PRODUCTS; product++) { // hi · hi, lo · hi, hi · lo
        var right: array<Right, FN>;
        for (var n = 0u; n < FN; n++) {
          right[n] = subgroupMatrixLoad<Right, col_major>(&ws, right0 + (product / 2u * TN + n * N) * PITCH + f * K, PITCH);
        }
        for (var m = 0u; m < FM; m++) {
          let left = subgroupMatrixLoad<Left, row_major>(&xs, left0 + (product % 2u * TM + m * M) * PITCH + f * K, PITCH);
          for (var n = 0u; n < FN; n++) {
            c[m * FN + n] = subgroupMatrixMultiplyAccumulate(left, right[n], c[m * FN + n]);
          }
        }
      }
    }
    workgroupBarrier();
    k += UNITS;
  }
  let lane = local.x % WIDTH;
  let result0 = (local.y * GM + gm) * M * N;
  let row1 = row0 + gm * (TM / GM);
  let column1 = column0 + local.y * (TN / GN);
  // One copy of the epilogue in a loop that stays one; the results move up by one place each time.
  for (var t = rounds(FM * FN); t > 0u; t--) {
    let fragment = FM * FN - t;
    subgroupMatrixStore<row_major>(&results, result0, c[0], N);
    workgroupBarrier();
    for (var i = 0u; i < M * N / 4u; i += WIDTH) {
      let e = 4u * (lane + i);
      let at = result0 + e;
      let v = select(1.0, 16.0, SHRINK) * vec4<f32>(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
      if (4u * WIDTH <= M * N || e < M * N) {
        finish_vec4(row1 + fragment / FN * M + e / N, column1 + fragment % FN * N + e % N, v, group.z, groups.z);
      }
    }
    workgroupBarrier();
    for (var i = 1u; i < FM * FN; i++) {
      c[i - 1u] = c[i];
    }
  }
}
