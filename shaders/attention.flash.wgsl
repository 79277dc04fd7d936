// Attention with online softmax: out = softmax(q kᵀ / sqrt(D)) v for blocks of 64 queries, without a matrix of scores.
// Tensors and what a query sees: lib/attention.
// Workgroup (block, head, batch) of 64 threads, one query each, which it holds in registers; 16 keys and values at a time
// pass through workgroup memory.
// Needs: D; sizes multiples of 4; libs step, kv.*, attention.
// Limits: 64 invocations, 128 D bytes of workgroup memory (D <= 128), 4 storage bindings. Reference: reference/attention.

const BLOCK = 64u;
const KEYS = 16u;

var<workgroup> ks: array<vec4<f32>, KEYS * VEC4S>;
var<workgroup> vs: array<vec4<f32>, KEYS * VEC4S>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let head = group.y;
  let first = group.x * BLOCK;
  let row = min(first + index, rows - 1u);
  let query = (group.z * p.q_rows + row) * (p.q_stride / 4u) + head * VEC4S;
  let visible = select(p.q_rows, step.start + row + 1u, causal); // keys this query sees
  let last = select(p.q_rows, step.start + min(first + BLOCK, rows), causal); // keys the block sees
  let base = group.z * p.kv_batch + (head / p.group_size) * p.kv_head;

  var qs: array<vec4<f32>, VEC4S>;
  var acc: array<vec4<f32>, VEC4S>;
  for (var i = 0u; i < VEC4S; i++) {
    qs[i] = q[query + i] * (1.0 / sqrt(f32(D)));
  }
  var row_max = LOWEST;
  var sum = 0.0;
  for (var key0 = 0u; key0 < last; key0 += KEYS) {
    for (var i = index; i < KEYS * VEC4S; i += BLOCK) {
      let at = base + min(key0 + i / VEC4S, last - 1u) * p.kv_stride;
      ks[i] = key_vec4((p.k_offset + at) / 4u + i % VEC4S);
      vs[i] = value_vec4((p.v_offset + at) / 4u + i % VEC4S);
    }
    workgroupBarrier();
    var scores: array<f32, KEYS>;
    var new_max = row_max;
    for (var j = 0u; j < KEYS; j++) {
      var s = 0.0;
      for (var i = 0u; i < VEC4S; i++) {
        s += dot(qs[i], ks[j * VEC4S + i]);
      }
      s = select(LOWEST, s, key0 + j < visible);
      scores[j] = s;
      new_max = max(new_max, s);
    }
    let shrink = exp(row_max - new_max);
    row_max = new_max;
    sum *= shrink;
    for (var i = 0u; i < VEC4S; i++) {
      acc[i] *= shrink;
    }
    for (var j = 0u; j < KEYS; j++) {
      let weight = exp(scores[j] - new_max);
      sum += weight;
      for (var i = 0u; i < VEC4S; i++) {
        acc[i] += weight * vs[j * VEC4S + i];
      }
    }
    workgroupBarrier();
  }
  if (first + index < rows) {
    let to = ((group.z * p.q_rows + row) * p.heads + head) * VEC4S;
    for (var i = 0u; i < VEC4S; i++) {
      out[to + i] = acc[i] / sum;
    }
  }
}
