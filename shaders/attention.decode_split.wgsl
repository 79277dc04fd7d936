// Decode attention without any extension: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// A workgroup of 64 threads takes 64 keys at a time: a thread a key (the scores of all GROUP heads), then some threads a head (the
// weights), then a thread a vec4 of the columns and every SLOTS-th key (the sums). Keys and values are read once for all heads of the group.
// Needs: D (a multiple of 4), GROUP; libs step, kv.* and decode.
// Limits: 64 invocations, 4 GROUP (D + 73) + 1024 bytes of workgroup memory (GROUP <= 16, D <= 128), 5 storage bindings.
// Reference: reference/attention.
const THREADS = 64u;
const SLOTS = THREADS / QUADS; // threads of a column
const TEAM = min(8u, THREADS / GROUP); // threads of a head

var<workgroup> qs: array<vec4<f32>, GROUP * QUADS>;
var<workgroup> scores: array<f32, GROUP * THREADS>; // then weights
var<workgroup> team: array<f32, GROUP * TEAM>; // maxima, at the end sums
var<workgroup> shrink: array<f32, GROUP>;
var<workgroup> slots: array<vec4<f32>, THREADS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let part = part_of(group);
  let row = part.row;
  let head0 = part.head0;
  let base = part.base;
  let end = part.count;
  if (end == 0u) {
    return;
  }
  let head = index / TEAM; // of the thread's team; there may be threads without
  let column = index % QUADS;
  let slot = index / QUADS; // there may be threads with slot >= SLOTS, which have no keys
  for (var i = index; i < GROUP * QUADS; i += THREADS) {
    qs[i] = q[head0 * QUADS + i] * (1.0 / sqrt(f32(D)));
  }
  workgroupBarrier();
  var acc: array<vec4<f32>, GROUP>;
  var top = LOWEST; // of the team's head
  var sum = 0.0; // over the thread's share of it
  for (var key0 = 0u; key0 < end; key0 += THREADS) {
    var s: array<f32, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      s[g] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
    }
    if (key0 + index < end) {
      for (var i = 0u; i < QUADS; i++) {
        let quad = key_quad((base + key0 + index) * QUADS + i);
        for (var g = 0u; g < GROUP; g++) {
          s[g] += dot(qs[g * QUADS + i], quad);
        }
      }
    }
    for (var g = 0u; g < GROUP; g++) {
      scores[g * THREADS + index] = select(LOWEST, s[g], key0 + index < end);
    }
    workgroupBarrier();
    if (head < GROUP) {
      var highest = top;
      for (var j = index % TEAM; j < THREADS; j += TEAM) {
        highest = max(highest, scores[head * THREADS + j]);
      }
      team[index] = highest;
    }
    workgroupBarrier();
    if (head < GROUP) {
      var highest = top;
      for (var j = 0u; j < TEAM; j++) {
        highest = max(highest, team[head * TEAM + j]);
      }
      let factor = exp(top - highest);
      top = highest;
      sum *= factor;
      for (var j = index % TEAM; j < THREADS; j += TEAM) {
        let weight = exp(scores[head * THREADS + j] - top);
        scores[head * THREADS + j] = weight;
        sum += weight;
      }
      if (index % TEAM == 0u) {
        shrink[head] = factor;
      }
    }
    workgroupBarrier();
    for (var g = 0u; g < GROUP; g++) {
      acc[g] *= shrink[g];
    }
    let count = select(0u, min(THREADS, end - key0), slot < SLOTS);
    for (var j = slot; j < count; j += SLOTS) {
      let quad = value_quad((base + key0 + j) * QUADS + column);
      for (var g = 0u; g < GROUP; g++) {
        acc[g] += scores[g * THREADS + j] * quad;
      }
    }
    workgroupBarrier();
  }
  if (head < GROUP) {
    team[index] = sum;
    if (index % TEAM == 0u) {
      shrink[head] = top;
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    slots[index] = acc[g];
    workgroupBarrier();
    var all = 0.0;
    for (var j = 0u; j < TEAM; j++) {
      all += team[g * TEAM + j];
    }
    if (index < QUADS) {
      var value = slots[index];
      for (var j = 1u; j < SLOTS; j++) {
        value += slots[j * QUADS + index];
      }
      store(row, head0 + g, group.y, index, value, all);
    }
    if (index == 0u) {
      store_sum(row, head0 + g, group.y, shrink[g], all);
    }
    workgroupBarrier();
  }
}
