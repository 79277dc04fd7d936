// Queries, times a scale, or keys, in panels (lib/panels) of 16 rows or of 64: out[head, panel, quad, i], rows past the end as the last one.
// Workgroup (8 rows, panel, head) of 8 threads, one row each.
// Needs: libs step, kv.*, texels, heads. Limits: 8 invocations, 2 storage buffers, 1 storage texture. Reference: reference/attention.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let in_panel = select(8u * lane + group.x, 8u * group.x + lane, p.height == 16u);
  let row = min(group.y * p.height + in_panel, row_count() - 1u);
  let from_ = origin(group.z) + row * p.stride;
  let to = (group.z * p.panels + group.y) * p.depth * p.height + 8u * group.x + lane;
  for (var i = 0u; i < p.quads; i++) {
    textureStore(out, texel(to + i * p.height), key_quad(from_ + i) * p.scale);
  }
}
