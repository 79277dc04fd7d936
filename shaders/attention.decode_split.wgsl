// Decode attention without any extension: out = softmax(q kᵀ / sqrt(D)) v, as lib decode says.
// A workgroup of 64 threads takes 64 keys at a time: a thread a key (the scores of all GROUP heads), then some threads a head (the
// weights), then a thread a vec4 of the columns and every SLOTS-th key (the sums). Keys and values are read once for all heads of the group.
// Needs: D (a multiple of 4), GROUP; libs step, kv.* and decode.
// Limits: 64 invocations, 4 GROUP (D + 73) + 1024 bytes of workgroup memory (GROUP <= 16, D <= 128), 5 storage bindings.
// Reference: reference/attention.
const THREADS = 64u;
const SLOTS = THREADS / VEC4S; // threads of a column
const TEAM = min(8u, THREADS / GROUP); // threads of a head

var<workgroup> qs: array<vec4<f32>, GROUP * VEC4S>;
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
  let column = index % VEC4S;
  let slot = index / VEC4S; // there may be threads with slot >= SLOTS, which have no keys
  for (var i = index; i < GROUP * VEC4S; i += THREADS) {
    qs[i] = q[head0 * VEC4S + i] * (1.0 / sqrt(f32(D)));
  }
  workgroupBarrier();
  var acc: array<vec4<f32>, GROUP>;
  var row_max = LOWEST; // of the team's head
  var sum = 0.0; // over the thread's share of it
  for (var key0 = 0u; key0 < end; key0 += THREADS) {
    var s: array<f32, GROUP>;
    for (var g = 0u; g < GROUP; g++) {
      s[g] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
    }
    if (key0 + index < end) {
      for (var i = 0u; i < VEC4S; i++) {
        let key = key_vec4((base + key0 + index) * VEC4S + i);
        for (var g = 0u; g < GROUP; g++) {
          s[g] += dot(qs[g * VEC4S + i], key);
        }
      }
    }
    for (var g = 0u; g < GROUP; g++) {
      scores[g * THREADS + index] = select(LOWEST, s[g], key0 + index < end);
    }
    workgroupBarrier();
    if (head < GROUP) {
      var new_max = row_max;
      for (var j = index % TEAM; j < THREADS; j += TEAM) {
        new_max = max(new_max, scores[head * THREADS + j]);
      }
      team[index] = new_max;
    }
    workgroupBarrier();
    if (head < GROUP) {
      var new_max = row_max;
      for (var j = 0u; j < TEAM; j++) {
        new_max = max(new_max, team[head * TEAM + j]);
      }
      let factor = exp(row_max - new_max);
      row_max = new_max;
      sum *= factor;
      for (var j = index % TEAM; j < THREADS; j += TEAM) {
        let weight = exp(scores[head * THREADS + j] - row_max);
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
      let value = value_vec4((base + key0 + j) * VEC4S + column);
      for (var g = 0u; g < GROUP; g++) {
        acc[g] += scores[g * THREADS + j] * value;
      }
    }
    workgroupBarrier();
  }
  if (head < GROUP) {
    team[index] = sum;
    if (index % TEAM == 0u) {
      shrink[head] = row_max;
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    slots[index] = acc[g];
    workgroupBarrier();
    var all = 0.0;
    for (var j = 0u; j < TEAM; j++) {
      all += team[g * TEAM + j];
    }
    if (index < VEC4S) {
      var value = slots[index];
      for (var j = 1u; j < SLOTS; j++) {
        value += slots[j * VEC4S + index];
      }
      store(row, head0 + g, group.y, index, value, all);
    }
    if (index == 0u) {
      store_sum(row, head0 + g, group.y, shrink[g], all);
    }
    workgroupBarrier();
  }
}
