// Decode attention for CPU adapters whose subgroups have 4 lanes: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing; a barrier costs most.
// A workgroup of one subgroup takes LANES keys at a time, and LANES vec4s of every row. Scores: a lane a key, the lanes hand round
// the queries. Sums: a lane a vec4 of the columns, the lanes hand round the weights. Keys and values are read once for all heads of
// the group. A lane sees only its own slots of the workgroup memory: no barrier but the one that clears it.
// Needs: D (a multiple of 4), GROUP, SPLIT_KEYS (a multiple of LANES), the extension subgroups; libs step, kv.*, decode and lanes.4.
// Limits: LANES invocations, 4 GROUP (SPLIT_KEYS + LANES) bytes of workgroup memory, 5 storage bindings. Reference: reference/attention.
var<workgroup> scores: array<f32, GROUP * SPLIT_KEYS>; // then weights
var<workgroup> sums: array<f32, GROUP * LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let part = part_of(group);
  let head0 = part.head0;
  let base = part.base;
  let count = part.count;
  if (count == 0u) {
    return;
  }
  var own: array<vec4<f32>, LANES>;

  // Keys past the end repeat the last one; their scores are dropped. Columns past the end repeat the last ones; their queries are zero.
  // The loops over blocks end at a number that is known at run time only: copies of them cost seconds of compilation.
  for (var block = 0u; block < p.vec4s; block += LANES) {
    let column = min(block + lane, VEC4S - 1u);
    var qs: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      qs[g] = select(vec4<f32>(), q[(head0 + g) * VEC4S + column] * (1.0 / sqrt(f32(D))), block + lane < VEC4S);
    }
    for (var key = 0u; key < count; key += LANES) {
      let at = (base + min(key + lane, count - 1u)) * VEC4S;
      for (var i = 0u; i < LANES; i++) {
        own[i] = key_vec4(at + min(block + i, VEC4S - 1u));
      }
      for (var g = 0u; g < GROUP; g++) {
        let at = g * SPLIT_KEYS + key + lane;
        scores[at] = select(0.0, scores[at], block > 0u) + dots(qs[g], &own);
      }
    }
  }
  for (var g = 0u; g < p.group_size; g++) {
    var row_max = LOWEST;
    for (var key = lane; key < count; key += LANES) {
      row_max = max(row_max, scores[g * SPLIT_KEYS + key]);
    }
    row_max = subgroupMax(row_max);
    var sum = 0.0;
    for (var key = 0u; key < count; key += LANES) {
      let at = g * SPLIT_KEYS + key + lane;
      let weight = select(0.0, exp(scores[at] - row_max), key + lane < count);
      scores[at] = weight;
      sum += weight;
    }
    sum = subgroupAdd(sum);
    sums[g * LANES + lane] = sum;
    if (lane == 0u) {
      store_sum(part, head0 + g, group.y, row_max, sum);
    }
  }
  for (var block = 0u; block < p.vec4s; block += LANES) {
    let column = min(block + lane, VEC4S - 1u);
    var acc: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      acc[g] = vec4<f32>(); // by hand: lavapipe keeps a loop's array from round to round
    }
    for (var key = 0u; key < count; key += LANES) {
      for (var i = 0u; i < LANES; i++) {
        own[i] = value_vec4((base + min(key + i, count - 1u)) * VEC4S + column);
      }
      for (var g = 0u; g < GROUP; g++) {
        acc[g] += weighted(scores[g * SPLIT_KEYS + key + lane], &own);
      }
    }
    var results = acc; // the loop below may not unroll either, and would keep `acc` itself in memory
    if (block + lane < VEC4S) {
      for (var g = 0u; g < p.group_size; g++) {
        store(part, head0 + g, group.y, column, results[g], sums[g * LANES + lane]);
      }
    }
  }
}
