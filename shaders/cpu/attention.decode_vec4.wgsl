// Decode attention for CPU adapters whose subgroups have 4 lanes: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing; a barrier costs most.
// A workgroup of one subgroup takes LANES keys at a time, and LANES vec4s of every row. Scores: a lane a key, the lanes hand round
// the queries. Sums: a lane a vec4 of the columns, the lanes hand round the weights. Keys and values are read once for all heads of
// the group. A lane sees only its own slots of the workgroup memory: no barrier but the one that clears it.
// Needs: D (a multiple of 4), GROUP, SPAN (a multiple of LANES), the extension subgroups; libs step, kv.*, decode and lanes.4.
// Limits: LANES invocations, 4 GROUP (SPAN + LANES) bytes of workgroup memory, 5 storage bindings. Reference: reference/attention.
var<workgroup> scores: array<f32, GROUP * SPAN>; // then weights
var<workgroup> sums: array<f32, GROUP * LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let part = part_of(group);
  let row = part.row;
  let head0 = part.head0;
  let base = part.base;
  let count = part.count;
  if (count == 0u) {
    return;
  }
  var quads: array<vec4<f32>, LANES>;

  // Keys past the end repeat the last one; their scores are dropped. Columns past the end repeat the last ones; their queries are zero.
  // The loops over blocks end at a number that is known at run time only: copies of them cost seconds of compilation.
  for (var block = 0u; block < p.quads; block += LANES) {
    let column = min(block + lane, QUADS - 1u);
    var qs: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      qs[g] = select(vec4<f32>(), q[(head0 + g) * QUADS + column] * (1.0 / sqrt(f32(D))), block + lane < QUADS);
    }
    for (var key = 0u; key < count; key += LANES) {
      let at = (base + min(key + lane, count - 1u)) * QUADS;
      for (var i = 0u; i < LANES; i++) {
        quads[i] = key_quad(at + min(block + i, QUADS - 1u));
      }
      for (var g = 0u; g < GROUP; g++) {
        scores[g * SPAN + key + lane] += dots(qs[g], &quads);
      }
    }
  }
  for (var g = 0u; g < p.group_size; g++) {
    var top = LOWEST;
    for (var key = lane; key < count; key += LANES) {
      top = max(top, scores[g * SPAN + key]);
    }
    top = subgroupMax(top);
    var sum = 0.0;
    for (var key = 0u; key < count; key += LANES) {
      let at = g * SPAN + key + lane;
      let weight = select(0.0, exp(scores[at] - top), key + lane < count);
      scores[at] = weight;
      sum += weight;
    }
    sum = subgroupAdd(sum);
    sums[g * LANES + lane] = sum;
    if (lane == 0u) {
      store_sum(row, head0 + g, group.y, top, sum);
    }
  }
  for (var block = 0u; block < p.quads; block += LANES) {
    let column = min(block + lane, QUADS - 1u);
    var acc: array<vec4<f32>, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      acc[g] = vec4<f32>(); // by hand: lavapipe keeps a loop's array from round to round
    }
    for (var key = 0u; key < count; key += LANES) {
      for (var i = 0u; i < LANES; i++) {
        quads[i] = value_quad((base + min(key + i, count - 1u)) * QUADS + column);
      }
      for (var g = 0u; g < GROUP; g++) {
        acc[g] += weighted(scores[g * SPAN + key + lane], &quads);
      }
    }
    var results = acc; // the loop below may not unroll either, and would keep `acc` itself in memory
    if (block + lane < QUADS) {
      for (var g = 0u; g < p.group_size; g++) {
        store(row, head0 + g, group.y, column, results[g], sums[g * LANES + lane]);
      }
    }
  }
}
