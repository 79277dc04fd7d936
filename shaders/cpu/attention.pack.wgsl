// Queries, times a scale, or keys, in panels (lib/panels) of 16 rows or of 64: out[head, panel, vec4, i], rows past the end as the last one.
// Workgroup (8 rows, panel, head) of 8 threads, one row each.
// Needs: libs step, kv.*, heads. Limits: 8 invocations, 2 storage bindings. Reference: reference/attention.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let in_panel = select(8u * lane + group.x, 8u * group.x + lane, p.height == 16u);
  let rows = row_count();
  let panels = (rows + p.height - 1u) / p.height;
  let row = min(group.y * p.height + in_panel, rows - 1u);
  let from_ = origin(group.z) + row * p.stride;
  let to = (group.z * panels + group.y) * p.vec4s * p.height + 8u * group.x + lane;
  for (var i = 0u; i < p.vec4s; i++) {
    out[to + i * p.height] = key_vec4(from_ + i) * p.scale;
  }
}
