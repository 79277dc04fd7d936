// Decode attention for CPU adapters whose subgroups have 8 lanes: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// There a load costs by its 32-bit words and lane by lane, a shuffle next to nothing; a barrier costs most. So a workgroup of one
// subgroup walks over the keys one by one, a lane for every 8 columns; keys and values are read once for all heads of the group.
// Scores: the lanes' shares of a key are summed, and lane i keeps the ith of every LANES keys. Sums: the lanes hand round the weights.
// A lane sees only its own slots of the workgroup memory: no barrier. What is loaded is used up in the same short round of a loop:
// written out, compilers put all loads first and spill them.
// Needs: D (a multiple of 8), GROUP, SPLIT_KEYS (a multiple of LANES), the extension subgroups; libs step, kv_read.*, kv_vec8.*, decode and lanes.8.
// Limits: LANES invocations, 4 GROUP SPLIT_KEYS bytes of workgroup memory, 5 storage bindings. Reference: reference/attention.
const VEC8S = D / 8u;

var<workgroup> scores: array<f32, GROUP * SPLIT_KEYS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let part = part_of(group);
  let head0 = part.head0;
  let base = part.base;
  let count = part.count;
  if (count == 0u) {
    return;
  }
  var row_max: array<f32, GROUP>; // of the scores of a lane's keys, then of all

  // Columns past the end repeat the last ones; their queries are zero. Lanes without a key have the lowest score: its weight is zero.
  for (var block = 0u; block < p.vec4s / 2u; block += LANES) {
    let column = min(block + lane, VEC8S - 1u);
    let scale = select(0.0, 1.0 / sqrt(f32(D)), block + lane < VEC8S);
    var q_low: array<vec4<f32>, GROUP>;
    var q_high: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      let at = (head0 + g) * VEC4S + 2u * column;
      q_low[g] = scale * q[at];
      q_high[g] = scale * q[at + 1u];
      row_max[g] = LOWEST;
    }
    for (var key = 0u; key < count; key += LANES) {
      var own: array<f32, GROUP>;
      for (var g = 0u; g < GROUP; g++) {
        own[g] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
      }
      let end = min(LANES, count - key);
      for (var i = 0u; i < end; i++) {
        let key8 = key_vec8((base + key + i) * VEC8S + column);
        for (var g = 0u; g < GROUP; g++) {
          own[g] = select(own[g], sum_of_lanes(dot(q_low[g], key8[0]) + dot(q_high[g], key8[1])), lane == i);
        }
      }
      for (var g = 0u; g < GROUP; g++) {
        let at = g * SPLIT_KEYS + key + lane;
        var score = own[g];
        if (VEC8S > LANES) {
          score += select(0.0, scores[at], block > 0u);
        }
        score = select(LOWEST, score, lane < end);
        scores[at] = score;
        row_max[g] = max(row_max[g], score); // those of the last block are whole
      }
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    row_max[g] = subgroupMax(row_max[g]);
  }

  for (var block = 0u; block < p.vec4s / 2u; block += LANES) {
    let column = min(block + lane, VEC8S - 1u);
    var low: array<vec4<f32>, GROUP>;
    var high: array<vec4<f32>, GROUP>;
    var sums: array<f32, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      low[g] = vec4<f32>();
      high[g] = vec4<f32>();
      sums[g] = 0.0;
    }
    for (var key = 0u; key < count; key += LANES) {
      var weights: array<f32, GROUP>;
      for (var g = 0u; g < GROUP; g++) {
        weights[g] = exp(scores[g * SPLIT_KEYS + key + lane] - row_max[g]);
        sums[g] += weights[g];
      }
      let end = min(LANES, count - key);
      for (var i = 0u; i < end; i += 2u) { // two, so that a sum is fetched and put back half as often
        let at = base + key + i;
        let value0 = value_vec8(at * VEC8S + column);
        let value1 = value_vec8(min(at + 1u, base + count - 1u) * VEC8S + column);
        for (var g = 0u; g < GROUP; g++) {
          let weight0 = subgroupShuffle(weights[g], i);
          let weight1 = subgroupShuffle(weights[g], i + 1u);
          low[g] += weight0 * value0[0] + weight1 * value1[0];
          high[g] += weight0 * value0[1] + weight1 * value1[1];
        }
      }
    }
    for (var g = 0u; g < GROUP; g++) {
      sums[g] = sum_of_lanes(sums[g]);
    }
    // Copies, since this loop may not unroll, and would keep the arrays themselves in memory.
    var results = array<array<vec4<f32>, GROUP>, 2>(low, high);
    var all_max = row_max;
    var all_sums = sums;
    for (var g = 0u; g < p.group_size; g++) {
      if (block + lane < VEC8S) {
        store(part, head0 + g, group.y, 2u * column, results[0][g], all_sums[g]);
        store(part, head0 + g, group.y, 2u * column + 1u, results[1][g], all_sums[g]);
      }
      if (block + lane == 0u) {
        store_sum(part, head0 + g, group.y, all_max[g], all_sums[g]);
      }
    }
  }
}
