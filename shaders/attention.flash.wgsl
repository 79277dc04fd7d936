// Attention with online softmax: out = softmax(q kᵀ / sqrt(D)) v for blocks of 64 queries, without a matrix of scores.
// Tensors and what a query sees: lib/attention.
// Workgroup (block, head, batch) of 64 threads, one query each, which it holds in registers; 16 keys and values at a time
// pass through workgroup memory.
// Needs: D; sizes multiples of 4; libs step, kv.*, attention.
// Limits: 64 invocations, 128 D bytes of workgroup memory (D <= 128), 4 storage bindings. Reference: reference/attention.

const BLOCK = 64u;
const KEYS = 16u;

var<workgroup> ks: array<vec4<f32>, KEYS * QUADS>;
var<workgroup> vs: array<vec4<f32>, KEYS * QUADS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let head = group.y;
  let first = group.x * BLOCK;
  let row = min(first + index, rows - 1u);
  let query = (group.z * p.q_rows + row) * (p.q_stride / 4u) + head * QUADS;
  let visible = select(p.q_rows, step.start + row + 1u, causal); // keys this query sees
  let last = select(p.q_rows, step.start + min(first + BLOCK, rows), causal); // keys the block sees
  let base = group.z * p.kv_batch + (head / p.group_size) * p.kv_head;

  var qs: array<vec4<f32>, QUADS>;
  var acc: array<vec4<f32>, QUADS>;
  for (var i = 0u; i < QUADS; i++) {
    qs[i] = q[query + i] * (1.0 / sqrt(f32(D)));
  }
  var highest = LOWEST;
  var sum = 0.0;
  for (var key0 = 0u; key0 < last; key0 += KEYS) {
    for (var i = index; i < KEYS * QUADS; i += BLOCK) {
      let at = base + min(key0 + i / QUADS, last - 1u) * p.kv_stride;
      ks[i] = key_quad((p.k_offset + at) / 4u + i % QUADS);
      vs[i] = value_quad((p.v_offset + at) / 4u + i % QUADS);
    }
    workgroupBarrier();
    var scores: array<f32, KEYS>;
    var top = highest;
    for (var j = 0u; j < KEYS; j++) {
      var s = 0.0;
      for (var i = 0u; i < QUADS; i++) {
        s += dot(qs[i], ks[j * QUADS + i]);
      }
      s = select(LOWEST, s, key0 + j < visible);
      scores[j] = s;
      top = max(top, s);
    }
    let shrink = exp(highest - top);
    highest = top;
    sum *= shrink;
    for (var i = 0u; i < QUADS; i++) {
      acc[i] *= shrink;
    }
    for (var j = 0u; j < KEYS; j++) {
      let weight = exp(scores[j] - top);
      sum += weight;
      for (var i = 0u; i < QUADS; i++) {
        acc[i] += weight * vs[j * QUADS + i];
      }
    }
    workgroupBarrier();
  }
  if (first + index < rows) {
    let to = ((group.z * p.q_rows + row) * p.heads + head) * QUADS;
    for (var i = 0u; i < QUADS; i++) {
      out[to + i] = acc[i] / sum;
    }
  }
}
