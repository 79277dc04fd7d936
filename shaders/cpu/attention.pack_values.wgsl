// Values, across, in panels of 64 columns (lib/panels): out[head, panel, key vec4, i], zeros past the last key and the last column.
// Workgroup (16 key vec4s, panel, head) of 8 threads: thread l takes the columns 8l .. 8l + 7.
// Needs: libs step, kv.*, heads. Limits: 8 invocations, 2 storage bindings. Reference: reference/attention.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let keys = row_count();
  let panels = (p.vec4s + 15u) / 16u;
  let depth = (keys + 63u) / 64u * 16u;
  let to = (group.z * panels + group.y) * depth * 64u + lane;
  let end = min(32u * (group.x + 1u), 2u * ((keys + 3u) / 4u));
  for (var i = 32u * group.x; i < end; i++) { // both halves of a lane's columns, by key vec4s
    let column = group.y * 16u + 2u * lane + i % 2u;
    var rows = mat4x4<f32>();
    for (var j = 0u; j < 4u; j++) {
      let key = i / 2u * 4u + j;
      if (key < keys && column < p.vec4s) {
        rows[j] = value_vec4(origin(group.z) + key * p.stride + column);
      }
    }
    let columns = transpose(rows);
    for (var e = 0u; e < 4u; e++) {
      out[to + i / 2u * 64u + (4u * (i % 2u) + e) * 8u] = columns[e];
    }
  }
}
