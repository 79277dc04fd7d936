// Attention with online softmax for CPU adapters: out = softmax(q kᵀ / sqrt(D)) v, a thread a query.
// A CPU's caches do what workgroup memory does on a GPU, and there are no barriers, which CPU adapters compile and run slowest.
// Tensors and what a query sees: lib/attention. Workgroup (block of 64 queries, head, batch).
// Needs: D; sizes multiples of 4; libs step, kv.*, attention. Limits: 64 invocations, 4 storage bindings. Reference: reference/attention.

const BLOCK = 64u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let row = group.x * BLOCK + index;
  if (row >= rows) {
    return;
  }
  let head = group.y;
  let from_ = (group.z * p.q_rows + row) * (p.q_stride / 4u) + head * VEC4S;
  let keys = select(p.q_rows, step.start + row + 1u, causal);
  let base = group.z * p.kv_batch + (head / p.group_size) * p.kv_head;

  var qs: array<vec4<f32>, VEC4S>;
  var acc: array<vec4<f32>, VEC4S>;
  for (var i = 0u; i < VEC4S; i++) {
    qs[i] = q[from_ + i] * (1.0 / sqrt(f32(D)));
    acc[i] = vec4<f32>();
  }
  var row_max = LOWEST;
  var sum = 0.0;
  for (var j = 0u; j < keys; j++) {
    let k_at = (p.k_offset + base + j * p.kv_stride) / 4u;
    let v_at = (p.v_offset + base + j * p.kv_stride) / 4u;
    var products = vec4<f32>();
    for (var i = 0u; i < VEC4S; i++) {
      products += qs[i] * key_vec4(k_at + i);
    }
    let score = dot(products, vec4<f32>(1.0));
    let new_max = max(row_max, score);
    let shrink = exp(row_max - new_max);
    let weight = exp(score - new_max);
    row_max = new_max;
    sum = sum * shrink + weight;
    for (var i = 0u; i < VEC4S; i++) {
      acc[i] = acc[i] * shrink + weight * value_vec4(v_at + i);
    }
  }
  let to = ((group.z * p.q_rows + row) * p.heads + head) * VEC4S;
  for (var i = 0u; i < VEC4S; i++) {
    out[to + i] = acc[i] / sum;
  }
}
