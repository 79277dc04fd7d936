// Attention with online softmax for CPU adapters whose subgroups have 8 lanes: out = softmax(q kᵀ / sqrt(D)) v.
// There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing: the lanes bring
// a key together, hand it round, and each uses all of it for its two queries. No workgroup memory, no barrier.
// A query is a pair (row, head of the group that shares keys and values): r GROUP + h. Tensors and what a query sees: lib/attention.
// Workgroup (16 queries, kv head, batch) of one subgroup; lane l holds the queries l and l + 8 in registers.
// Needs: subgroups of exactly 8 lanes, the extension subgroups; D (a multiple of 32); offsets multiples of 4; libs step, kv.*, attention.
// Limits: 8 invocations, 4 storage bindings. Reference: reference/attention.

const QUERIES = 16u;
const PARTS = D / 32u; // vec4s of a row that a lane brings
const KEYS = 4u; // a round: more of them cost seconds of compilation

// One query's online softmax over the keys of a round.
struct State {
  top: f32,
  sum: f32,
  shrink: f32,
}

fn advance(s: ptr<function, array<f32, KEYS>>, state: State, key: u32, end: u32) -> State {
  var top = state.top;
  for (var j = 0u; j < KEYS; j++) {
    (*s)[j] = select(LOWEST, (*s)[j], key + j < end);
    top = max(top, (*s)[j]);
  }
  let shrink = exp(state.top - top);
  var sum = state.sum * shrink;
  for (var j = 0u; j < KEYS; j++) {
    (*s)[j] = exp((*s)[j] - top);
    sum += (*s)[j];
  }
  return State(top, sum, shrink);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let batch = group.z;
  let count = rows * p.group_size;
  let first = group.x * QUERIES;
  let query0 = min(first + lane, count - 1u);
  let query1 = min(first + 8u + lane, count - 1u);
  let row0 = query0 / p.group_size;
  let row1 = query1 / p.group_size;
  let head0 = group.y * p.group_size + query0 % p.group_size;
  let head1 = group.y * p.group_size + query1 % p.group_size;
  // Keys that each query sees, and the block.
  let seen0 = select(p.q_rows, step.start + row0 + 1u, causal);
  let seen1 = select(p.q_rows, step.start + row1 + 1u, causal);
  let all = select(p.q_rows, step.start + min(first + QUERIES - 1u, count - 1u) / p.group_size + 1u, causal);
  let base = batch * p.kv_batch + group.y * p.kv_head;

  var q0: array<array<vec4<f32>, 8>, PARTS>;
  var q1: array<array<vec4<f32>, 8>, PARTS>;
  var acc0: array<array<vec4<f32>, 8>, PARTS>;
  var acc1: array<array<vec4<f32>, 8>, PARTS>;
  let from0 = (batch * p.q_rows + row0) * (p.q_stride / 4u) + head0 * QUADS;
  let from1 = (batch * p.q_rows + row1) * (p.q_stride / 4u) + head1 * QUADS;
  for (var c = 0u; c < PARTS; c++) {
    for (var i = 0u; i < 8u; i++) {
      q0[c][i] = q[from0 + 8u * c + i] * (1.0 / sqrt(f32(D)));
      q1[c][i] = q[from1 + 8u * c + i] * (1.0 / sqrt(f32(D)));
    }
  }
  var state0 = State(LOWEST, 0.0, 1.0);
  var state1 = state0;
  for (var key = 0u; key < all; key += KEYS) {
    var s0: array<f32, KEYS>;
    var s1: array<f32, KEYS>;
    for (var j = 0u; j < KEYS; j++) {
      s0[j] = 0.0; // by hand: lavapipe keeps a loop's array from round to round
      s1[j] = 0.0;
      // Keys past the end repeat the last one; their scores are dropped.
      let at = (p.k_offset + base + min(key + j, all - 1u) * p.kv_stride) / 4u + lane;
      for (var c = 0u; c < PARTS; c++) {
        let mine = key_quad(at + 8u * c);
        let k0 = subgroupBroadcast(mine, 0u);
        s0[j] += dot(q0[c][0], k0);
        s1[j] += dot(q1[c][0], k0);
        let k1 = subgroupBroadcast(mine, 1u);
        s0[j] += dot(q0[c][1], k1);
        s1[j] += dot(q1[c][1], k1);
        let k2 = subgroupBroadcast(mine, 2u);
        s0[j] += dot(q0[c][2], k2);
        s1[j] += dot(q1[c][2], k2);
        let k3 = subgroupBroadcast(mine, 3u);
        s0[j] += dot(q0[c][3], k3);
        s1[j] += dot(q1[c][3], k3);
        let k4 = subgroupBroadcast(mine, 4u);
        s0[j] += dot(q0[c][4], k4);
        s1[j] += dot(q1[c][4], k4);
        let k5 = subgroupBroadcast(mine, 5u);
        s0[j] += dot(q0[c][5], k5);
        s1[j] += dot(q1[c][5], k5);
        let k6 = subgroupBroadcast(mine, 6u);
        s0[j] += dot(q0[c][6], k6);
        s1[j] += dot(q1[c][6], k6);
        let k7 = subgroupBroadcast(mine, 7u);
        s0[j] += dot(q0[c][7], k7);
        s1[j] += dot(q1[c][7], k7);
      }
    }
    state0 = advance(&s0, state0, key, seen0);
    state1 = advance(&s1, state1, key, seen1);
    for (var c = 0u; c < PARTS; c++) {
      for (var i = 0u; i < 8u; i++) {
        acc0[c][i] *= state0.shrink;
        acc1[c][i] *= state1.shrink;
      }
    }
    for (var j = 0u; j < KEYS; j++) {
      let at = (p.v_offset + base + min(key + j, all - 1u) * p.kv_stride) / 4u + lane;
      for (var c = 0u; c < PARTS; c++) {
        let mine = value_quad(at + 8u * c);
        let v0 = subgroupBroadcast(mine, 0u);
        acc0[c][0] += s0[j] * v0;
        acc1[c][0] += s1[j] * v0;
        let v1 = subgroupBroadcast(mine, 1u);
        acc0[c][1] += s0[j] * v1;
        acc1[c][1] += s1[j] * v1;
        let v2 = subgroupBroadcast(mine, 2u);
        acc0[c][2] += s0[j] * v2;
        acc1[c][2] += s1[j] * v2;
        let v3 = subgroupBroadcast(mine, 3u);
        acc0[c][3] += s0[j] * v3;
        acc1[c][3] += s1[j] * v3;
        let v4 = subgroupBroadcast(mine, 4u);
        acc0[c][4] += s0[j] * v4;
        acc1[c][4] += s1[j] * v4;
        let v5 = subgroupBroadcast(mine, 5u);
        acc0[c][5] += s0[j] * v5;
        acc1[c][5] += s1[j] * v5;
        let v6 = subgroupBroadcast(mine, 6u);
        acc0[c][6] += s0[j] * v6;
        acc1[c][6] += s1[j] * v6;
        let v7 = subgroupBroadcast(mine, 7u);
        acc0[c][7] += s0[j] * v7;
        acc1[c][7] += s1[j] * v7;
      }
    }
  }
  for (var half = 0u; half < 2u; half++) {
    if (first + 8u * half + lane < count) {
      let second = half == 1u;
      let row = select(row0, row1, second);
      let head = select(head0, head1, second);
      let sum = select(state0.sum, state1.sum, second);
      let to = ((batch * p.q_rows + row) * p.heads + head) * QUADS;
      for (var c = 0u; c < PARTS; c++) {
        for (var i = 0u; i < 8u; i++) {
          let a = select(acc0[c][i], acc1[c][i], second);
          out[to + 8u * c + i] = a / sum;
        }
      }
    }
  }
}
