// Attention with online softmax on matrix units: out = softmax(q kᵀ / sqrt(D)) v, 32 keys a round. Operands are those of attention.reals, f16 in
// one part or two (lo · lo is left out); scores, sums and what leaves are f32. What a query sees: lib/attention.
// A workgroup of SUBGROUPS subgroups takes SUBGROUPS M queries of a head, each subgroup M of its own. Fragments are opaque: scores go through
// workgroup memory, where LANES lanes share a row, and come back as weights in the scores' place (a lane's K keys where its scores lay, hi before
// lo): the less memory, the more subgroups at once. What a row's weights are relative to is a whole number, and raised only when its largest score
// outgrew it by 2^8: then, rarely, the sums go through workgroup memory as well, to be scaled. Weights are times 2^7: f16 holds 2^15, and the
// smallest ones lose less.
// Needs: D a multiple of 32; M, N, K of a configuration of the adapter, N at most 32; WIDTH, the size of every subgroup, so that K LANES = 32;
// QPARTS, KPARTS (of keys and values), PPARTS (of weights); the extensions subgroups, f16, chromium_experimental_subgroup_matrix, its loads of
// fragments from arrays of another type (in the form `typed`); libs step, attention.
// Limits: SUBGROUPS WIDTH invocations, 5 storage bindings, SUBGROUPS M 144 + 4 bytes of workgroup memory. Fragments lie at multiples of 16 bytes, as Vulkan wants it.
// Reference: reference/attention.
const SUBGROUPS = 4u;
const KEYS = 32u;
const BLOCK = SUBGROUPS * M;
const LANES = WIDTH / M; // of a row
const FOURS = KEYS / LANES / 4u; // a lane's vec4s, of a row's scores, or of 32 columns
const PRODUCTS = PPARTS + KPARTS - 1u;
const PITCH = KEYS / 4u + 1u; // of a row
const BEHIND = 7.0; // log2 of what weights are multiplied with

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

@group(0) @binding(6) var<storage, read> reals: array<vec4<u32>>; // eight f16 each
var<workgroup> tile: array<vec4<u32>, BLOCK * PITCH>; // four f32 each, or eight f16
var<workgroup> grew: atomic<u32>; // the last round in which some row's sums have to be scaled

// Of numbers in two parts what f16 holds, by its bits: compilers take f32(f16(v)) for v.
fn first_part(v: vec4<f32>) -> vec4<f32> {
  return select(v, bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) & vec4<u32>(0xffffe000u)), PPARTS > 1u);
}

// A lane's weights where its scores lay.
fn keep(at: u32, weights: array<vec4<f32>, FOURS>) {
  var all = weights;
  for (var i = 0u; i < FOURS; i += 2u) {
    let a = first_part(all[i]);
    let b = first_part(all[i + 1u]);
    tile[at + i / 2u] = vec4<u32>(bitcast<vec2<u32>>(vec4<f16>(a)), bitcast<vec2<u32>>(vec4<f16>(b)));
    if (PPARTS > 1u) {
      tile[at + (FOURS + i) / 2u] = vec4<u32>(bitcast<vec2<u32>>(vec4<f16>(all[i] - a)), bitcast<vec2<u32>>(vec4<f16>(all[i + 1u] - b)));
    }
  }
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
  let own = lane % LANES * FOURS; // the first of the lane's vec4s
  let last = select(p.q_rows, step.start + min(row0 + BLOCK, rows), causal);
  let sees = select(p.q_rows, step.start + row0 + row + 1u, causal);
  // Of reals, in vec4s.
  let kv = (group.z * (p.heads / p.group_size) + head / p.group_size) * p.kv_room;
  let q_at = ((group.z * p.heads + head) * p.q_room + row0 + strip) * (D / 8u);
  let q_part = 4u * p.q_part;
  let kv_part = 4u * p.kv_part;
  let k_first = QPARTS * q_part;
  let v_first = k_first + KPARTS * kv_part;
  let at = row * PITCH + own;
  var o: array<Result, D / N>;
  var top = LOWEST;
  var sum = 0.0; // over the lane's keys
  let tiles = (last + KEYS - 1u) / KEYS;
  for (var t = tiles; t > 0u; t--) {
    let key0 = (tiles - t) * KEYS;
    let kv_at = (kv + key0) * (D / 8u);
    var s: array<Result, KEYS / N>;
    for (var n = 0u; n < KEYS / N; n++) {
      s[n] = Result(); // by hand: a loop's array keeps its values from round to round (Dawn)
    }
    for (var d = D / K; d > 0u; d--) {
      let column = (d - 1u) * (K / 8u);
      for (var product = 0u; product < QPARTS + KPARTS - 1u; product++) { // hi · hi, then lo · hi or hi · lo
        let lo_q = u32(product == 1u && QPARTS > 1u);
        let lo_k = u32(product > 0u) - lo_q;
        let left = subgroupMatrixLoad<Left, row_major>(&reals, q_at + lo_q * q_part + column, D / 8u);
        for (var n = 0u; n < KEYS / N; n++) {
          let k_at = k_first + lo_k * kv_part + kv_at + n * N * (D / 8u) + column;
          let right = subgroupMatrixLoad<Right, col_major>(&reals, k_at, D / 8u);
          s[n] = subgroupMatrixMultiplyAccumulate(left, right, s[n]);
        }
      }
    }
    workgroupBarrier(); // the last round's weights were read
    for (var n = 0u; n < KEYS / N; n++) {
      subgroupMatrixStore<row_major>(&tile, strip * PITCH + n * (N / 4u), s[n], PITCH);
    }
    workgroupBarrier();
    var high = LOWEST;
    var weights: array<vec4<f32>, FOURS>; // scores at first
    let seen = i32(sees) - i32(key0 + 4u * own); // of the lane's keys, if positive
    for (var i = 0u; i < FOURS; i++) {
      let v = bitcast<vec4<f32>>(tile[at + i]);
      weights[i] = select(vec4<f32>(LOWEST), v, 4 * i32(i) + vec4<i32>(0, 1, 2, 3) < vec4<i32>(seen));
      high = max(high, max(max(weights[i].x, weights[i].y), max(weights[i].z, weights[i].w)));
    }
    for (var i = 1u; i < LANES; i *= 2u) {
      high = max(high, subgroupShuffleXor(high, i));
    }
    let need = high > top + 8.0;
    let next = select(top, ceil(high), need);
    let shrink = exp2(top - next);
    if (need && sum > 0.0) {
      atomicStore(&grew, t);
    }
    top = next;
    sum *= shrink;
    for (var i = 0u; i < FOURS; i++) {
      weights[i] = exp2(weights[i] + (BEHIND - top));
      sum += dot(weights[i], vec4<f32>(1.0));
    }
    keep(at, weights);
    if (workgroupUniformLoad(&grew) == t) {
      for (var c = 0u; c < D / KEYS; c++) {
        for (var n = 0u; n < KEYS / N; n++) {
          subgroupMatrixStore<row_major>(&tile, strip * PITCH + n * (N / 4u), o[c * (KEYS / N) + n], PITCH);
        }
        workgroupBarrier();
        for (var i = 0u; i < FOURS; i++) {
          tile[at + i] = bitcast<vec4<u32>>(bitcast<vec4<f32>>(tile[at + i]) * shrink);
        }
        workgroupBarrier();
        for (var n = 0u; n < KEYS / N; n++) {
          o[c * (KEYS / N) + n] = subgroupMatrixLoad<Result, row_major>(&tile, strip * PITCH + n * (N / 4u), PITCH);
        }
        workgroupBarrier();
      }
      keep(at, weights);
      workgroupBarrier();
    }
    for (var j = PRODUCTS * LANES; j > 0u; j--) { // of K keys hi · hi, then hi · lo, then lo · hi, and of the next
      let product = (j - 1u) % PRODUCTS;
      let k = (j - 1u) / PRODUCTS;
      let lo_p = u32(PPARTS > 1u && product == 0u);
      let lo_v = u32(KPARTS > 1u && product == 1u);
      let left = subgroupMatrixLoad<Left, row_major>(&tile, strip * PITCH + k * FOURS + lo_p * (FOURS / 2u), PITCH);
      let v_at = v_first + 4u * (lo_v * p.kv_part) + kv_at + k * (K / 8u);
      for (var n = 0u; n < D / N; n++) {
        let right = subgroupMatrixLoad<Right, col_major>(&reals, v_at + n * (N * KEYS / 8u), KEYS / 8u);
        o[n] = subgroupMatrixMultiplyAccumulate(left, right, o[n]);
      }
    }
  }
  for (var i = 1u; i < LANES; i *= 2u) {
    sum += subgroupShuffleXor(sum, i);
  }
  let to = ((group.z * p.q_rows + row0 + row) * p.heads + head) * VEC4S + own;
  for (var c = 0u; c < D / KEYS; c++) {
    workgroupBarrier();
    for (var n = 0u; n < KEYS / N; n++) {
      subgroupMatrixStore<row_major>(&tile, strip * PITCH + n * (N / 4u), o[c * (KEYS / N) + n], PITCH);
    }
    workgroupBarrier();
    for (var i = 0u; i < FOURS; i++) {
      if (row0 + row < rows) {
        out[to + c * (KEYS / 4u) + i] = bitcast<vec4<f32>>(tile[at + i]) / sum;
      }
    }
  }
}
