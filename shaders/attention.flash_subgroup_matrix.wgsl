// Attention with online softmax on matrix units: out = softmax(q kᵀ / sqrt(D)) v, 32 keys a round. Operands are those of attention.reals, in
// one part or two (lo · lo is left out); scores, sums and what leaves are f32. What a query sees: lib/attention.
// A workgroup of SUBGROUPS subgroups takes SUBGROUPS M queries of a head, each subgroup M of its own. Fragments are opaque: scores go through
// workgroup memory, where LANES lanes share a row, and come back as weights. What a row's weights are relative to is raised only when its
// largest score outgrew it by 2^8: then, rarely, the sums go through workgroup memory as well, to be scaled. Weights are times 2^7: f16 holds
// 2^15, and the smallest ones lose less.
// Needs: D a multiple of 32; M, N, K of a configuration of the adapter, N and K at most 32; WIDTH, the size of every subgroup; QPARTS, KPARTS
// (of keys and values), PPARTS (of weights), REPLACE (whether weights' lo takes hi's place in workgroup memory, which leaves room for more
// workgroups, and costs registers); Real; the extensions subgroups, chromium_experimental_subgroup_matrix; libs step, attention.
// Limits: SUBGROUPS WIDTH invocations, 5 storage bindings, SUBGROUPS M (144 + 80 AREAS) bytes of workgroup memory where Reals are f16.
// Reference: reference/attention.
const SUBGROUPS = 4u;
const KEYS = 32u;
const BLOCK = SUBGROUPS * M;
const LANES = WIDTH / M; // of a row
const OWN = KEYS / LANES;
const STEPS = KEYS / K; // of a round along its keys
const PRODUCTS = PPARTS + KPARTS - 1u;
const AREAS = select(PPARTS, 1u, REPLACE); // of workgroup memory for weights
const SPITCH = KEYS + 4u; // of a row of scores
const PPITCH = KEYS + 8u; // and of weights
const BEHIND = 7.0; // log2 of what weights are multiplied with

alias Left = subgroup_matrix_left<Real, K, M>;
alias Right = subgroup_matrix_right<Real, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

@group(0) @binding(6) var<storage, read> reals: array<Real>;
var<workgroup> ss: array<f32, BLOCK * SPITCH>;
var<workgroup> ps: array<Real, AREAS * BLOCK * PPITCH>;
var<workgroup> grew: atomic<u32>; // the last round in which some row's sums have to be scaled

fn top_of(v: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(v) & 0xffffe000u);
}

@compute @workgroup_size(SUBGROUPS * WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let head = group.y;
  let row0 = group.x * BLOCK;
  let strip = local.x / WIDTH * M;
  let lane = local.x % WIDTH;
  let row = strip + lane / LANES;
  let own = lane % LANES * OWN; // the first of the lane's keys, or columns
  let last = select(p.q_rows, step.start + min(row0 + BLOCK, rows), causal);
  let sees = select(p.q_rows, step.start + row0 + row + 1u, causal);
  let kv = (group.z * (p.heads / p.group_size) + head / p.group_size) * p.kv_room;
  let q_at = ((group.z * p.heads + head) * p.q_room + row0 + strip) * D;
  let kv_part = 32u * p.kv_part;
  let k_first = QPARTS * 32u * p.q_part;
  let v_first = k_first + KPARTS * kv_part;
  let s_row = row * SPITCH;
  var o: array<Result, D / N>;
  var top = LOWEST;
  var sum = 0.0; // over the lane's keys
  let tiles = (last + KEYS - 1u) / KEYS;
  for (var t = tiles; t > 0u; t--) {
    let key0 = (tiles - t) * KEYS;
    var s: array<Result, KEYS / N>;
    for (var n = 0u; n < KEYS / N; n++) {
      s[n] = Result(); // by hand: a loop's array keeps its values from round to round (Dawn)
    }
    for (var d = D / K; d > 0u; d--) {
      let k_at = k_first + (kv + key0) * D + (d - 1u) * K;
      for (var product = 0u; product < QPARTS + KPARTS - 1u; product++) { // hi · hi, then lo · hi or hi · lo
        let lo_q = select(0u, 1u, product == 1u && QPARTS > 1u);
        let lo_k = select(0u, 1u, product > 0u && lo_q == 0u);
        let left = subgroupMatrixLoad<Left, row_major>(&reals, q_at + lo_q * 32u * p.q_part + (d - 1u) * K, D);
        for (var n = 0u; n < KEYS / N; n++) {
          let right = subgroupMatrixLoad<Right, col_major>(&reals, k_at + lo_k * kv_part + n * N * D, D);
          s[n] = subgroupMatrixMultiplyAccumulate(left, right, s[n]);
        }
      }
    }
    for (var n = 0u; n < KEYS / N; n++) {
      subgroupMatrixStore<row_major>(&ss, strip * SPITCH + n * N, s[n], SPITCH);
    }
    workgroupBarrier();
    var high = LOWEST;
    for (var i = 0u; i < OWN; i++) {
      high = max(high, select(LOWEST, ss[s_row + own + i], key0 + own + i < sees));
    }
    for (var i = 1u; i < LANES; i *= 2u) {
      high = max(high, subgroupShuffleXor(high, i));
    }
    let need = high > top + 8.0;
    let next = select(top, high, need);
    let shrink = exp2(top - next);
    if (need && sum > 0.0) {
      atomicStore(&grew, t);
    }
    top = next;
    sum *= shrink;
    var lo: array<Real, OWN>;
    for (var i = 0u; i < OWN; i++) {
      let weight = exp2(select(LOWEST, ss[s_row + own + i] - top + BEHIND, key0 + own + i < sees));
      sum += weight;
      let hi = select(weight, top_of(weight), PPARTS > 1u);
      ps[row * PPITCH + own + i] = Real(hi);
      lo[i] = Real(weight - hi);
      if (AREAS > 1u) {
        ps[((AREAS - 1u) * BLOCK + row) * PPITCH + own + i] = lo[i];
      }
    }
    if (workgroupUniformLoad(&grew) == t) {
      for (var c = 0u; c < D / KEYS; c++) {
        for (var n = 0u; n < KEYS / N; n++) {
          subgroupMatrixStore<row_major>(&ss, strip * SPITCH + n * N, o[c * (KEYS / N) + n], SPITCH);
        }
        workgroupBarrier();
        for (var i = 0u; i < OWN; i++) {
          ss[s_row + own + i] *= shrink;
        }
        workgroupBarrier();
        for (var n = 0u; n < KEYS / N; n++) {
          o[c * (KEYS / N) + n] = subgroupMatrixLoad<Result, row_major>(&ss, strip * SPITCH + n * N, SPITCH);
        }
        workgroupBarrier();
      }
    }
    for (var j = PRODUCTS * STEPS; j > 0u; j--) { // hi · hi, then hi · lo, then lo · hi: of all keys, or if hi and lo are both there of K after K
      if (PPARTS > AREAS && j == STEPS) { // the weights' lo in the place of hi
        workgroupBarrier();
        for (var i = 0u; i < OWN; i++) {
          ps[row * PPITCH + own + i] = lo[i];
        }
        workgroupBarrier();
      }
      var product = (j - 1u) / STEPS;
      var k = (j - 1u) % STEPS * K;
      if (AREAS > 1u) {
        product = (j - 1u) % PRODUCTS;
        k = (j - 1u) / PRODUCTS * K;
      }
      let lo_p = select(0u, BLOCK, AREAS > 1u && product == 0u);
      let lo_v = select(0u, p.kv_part, KPARTS > 1u && product == 1u);
      let v_at = v_first + 32u * lo_v + (kv + key0) * D + k;
      let left = subgroupMatrixLoad<Left, row_major>(&ps, (lo_p + strip) * PPITCH + k, PPITCH);
      for (var n = 0u; n < D / N; n++) {
        let right = subgroupMatrixLoad<Right, col_major>(&reals, v_at + n * N * KEYS, KEYS);
        o[n] = subgroupMatrixMultiplyAccumulate(left, right, o[n]);
      }
    }
  }
  workgroupBarrier();
  ss[s_row + lane % LANES] = sum;
  workgroupBarrier();
  var all = 0.0;
  for (var i = 0u; i < LANES; i++) {
    all += ss[s_row + i];
  }
  let to = ((group.z * p.q_rows + row0 + row) * p.heads + head) * VEC4S + own / 4u;
  for (var c = 0u; c < D / KEYS; c++) {
    workgroupBarrier();
    for (var n = 0u; n < KEYS / N; n++) {
      subgroupMatrixStore<row_major>(&ss, strip * SPITCH + n * N, o[c * (KEYS / N) + n], SPITCH);
    }
    workgroupBarrier();
    for (var i = 0u; i < OWN / 4u; i++) {
      let at = s_row + own + 4u * i;
      if (row0 + row < rows) {
        out[to + c * (KEYS / 4u) + i] = vec4<f32>(ss[at], ss[at + 1u], ss[at + 2u], ss[at + 3u]) / all;
      }
    }
  }
}
