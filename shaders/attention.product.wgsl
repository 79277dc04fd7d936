// Both products of attention by panels (lib/scores, lib/panels), in one pipeline:
//   scores: x = queries [heads, ROW_PANELS, QUADS, 32], w = keys [kv heads, CAPACITY / 16, QUADS, 64], out = scores (the slice's)
//   values: x = weights (the slice's scores), w = values [kv heads, QUADS / 16, CAPACITY, 64], out: [batch rows, HEADS QUADS] vec4s
// Workgroup (64 columns, 32 queries, head of the slice) of one subgroup.
// Needs: subgroups of exactly 8 lanes, the extension subgroups; libs step, scores, panels.
// Limits: 8 invocations, 3 storage bindings. Reference: reference/attention.
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = group.y * ROWS;
  let keys = seen(row + ROWS - 1u); // that the panel sees
  let values = p.values != 0u;
  if (!values && group.x * COLUMNS >= keys) {
    return; // nobody reads these scores
  }
  let z = p.z0 + group.z;
  let depth = select(p.quads, p.capacity, values); // of a panel
  let x_panel = select(z, group.z, values) * p.row_panels + group.y;
  let w_panel = z / p.group_size * select(p.capacity / 16u, (p.quads + 15u) / 16u, values) + group.x;
  let steps = select(p.quads, (keys + 3u) / 4u, values);
  var results = tile(x_panel * depth * ROWS, w_panel * depth * COLUMNS, steps, lane);
  let to_scores = (group.z * p.row_panels + group.y) * p.capacity * ROWS;
  let to_out = ((z / p.heads * p.rows + row) * p.heads + z % p.heads) * p.quads;
  let end = select(ROWS, min(ROWS, query_count() - row), values);
  for (var i = 0u; i < end; i++) {
    for (var j = 0u; j < 2u; j++) {
      let quad = group.x * 16u + 2u * lane + j;
      let r = vec4<f32>(results[i][4u * j], results[i][4u * j + 1u], results[i][4u * j + 2u], results[i][4u * j + 3u]);
      if (!values) {
        out[to_scores + quad * ROWS + i] = r;
      } else if (quad < p.quads) {
        out[to_out + i * p.heads * p.quads + quad] = r;
      }
    }
  }
}
