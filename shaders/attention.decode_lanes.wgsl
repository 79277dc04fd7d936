// Decode attention for CPU adapters whose subgroups have a fixed size: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing; a barrier costs most.
// A workgroup of one subgroup takes LANES keys at a time. Scores: a lane a key, the lanes hand round the queries. Sums: a lane holds
// every LANES-th vec4 of the columns, the lanes hand round the weights. Keys and values are read once for all heads of the group.
// Needs: D (a multiple of 4), GROUP, the extension subgroups; libs step, decode and lanes.*.
// Limits: LANES invocations, 5 storage bindings. Reference: reference/attention.
const BLOCKS = (QUADS + LANES - 1u) / LANES; // vec4s of a row that a lane holds

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let head0 = group.x * GROUP;
  let first = group.y * p.span;
  let end = min(key_count(), first + p.span);
  let base = group.x * p.context;

  var qs: array<array<vec4<f32>, BLOCKS>, GROUP>;
  var acc: array<array<vec4<f32>, BLOCKS>, GROUP>;
  var top: array<f32, GROUP>;
  var sum: array<f32, GROUP>; // of this lane's keys
  for (var g = 0u; g < GROUP; g++) {
    for (var b = 0u; b < BLOCKS; b++) {
      let i = b * LANES + lane;
      qs[g][b] = select(vec4<f32>(), q[(head0 + g) * QUADS + min(i, QUADS - 1u)] * (1.0 / sqrt(f32(D))), i < QUADS);
      acc[g][b] = vec4<f32>();
    }
    top[g] = LOWEST;
    sum[g] = 0.0;
  }
  for (var key0 = first; key0 < end; key0 += LANES) {
    // Keys past the end repeat the last one; their scores are dropped. So do columns past the end, whose queries are zero.
    let key = min(key0 + lane, end - 1u);
    var s: array<f32, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      s[g] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
    }
    var row: array<vec4<f32>, LANES>;
    for (var b = 0u; b < BLOCKS; b++) {
      for (var i = 0u; i < LANES; i++) {
        row[i] = k[(base + key) * QUADS + min(b * LANES + i, QUADS - 1u)];
      }
      for (var g = 0u; g < GROUP; g++) {
        s[g] += dots(qs[g][b], &row);
      }
    }
    var shrink: array<f32, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      let score = select(LOWEST, s[g], key0 + lane < end);
      let highest = max(top[g], subgroupMax(score));
      shrink[g] = exp(top[g] - highest);
      s[g] = exp(score - highest);
      sum[g] = sum[g] * shrink[g] + s[g];
      top[g] = highest;
    }
    for (var b = 0u; b < BLOCKS; b++) {
      let column = min(b * LANES + lane, QUADS - 1u);
      for (var i = 0u; i < LANES; i++) {
        row[i] = v[(base + min(key0 + i, end - 1u)) * QUADS + column];
      }
      for (var g = 0u; g < GROUP; g++) {
        acc[g][b] = acc[g][b] * shrink[g] + weighted(s[g], &row);
      }
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    let all = subgroupAdd(sum[g]);
    for (var b = 0u; b < BLOCKS; b++) {
      let column = b * LANES + lane;
      if (column < QUADS) {
        store(head0 + g, group.y, column, acc[g][b], all);
      }
    }
    if (lane == 0u) {
      store_sum(head0 + g, group.y, top[g], all);
    }
  }
}
