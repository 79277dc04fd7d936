// Attention by panels, first: scores of queries and keys, the products of lib/panels.
//   x: queries times the scale [heads, row panels, VEC4S, 16]   w: keys [kv heads, key panels, VEC4S, 64]   both in texture storage   scores: lib/scores
// Workgroup (64 columns, 16 queries, head of the slice) of one subgroup.
// Needs: subgroups of exactly 8 lanes, the extension subgroups; libs step, scores, texture, operand.plain, panels.
// Limits: 8 invocations, 1 storage buffer, 2 storage textures. Reference: reference/attention.
@group(0) @binding(4) var<storage, read_write> scores: array<vec4<f32>>;

// Unrolled by its callers: an array that is indexed at run time is dear.
fn store(at: u32, c: array<f32, 8>) {
  scores[at] = vec4<f32>(c[0], c[1], c[2], c[3]);
  scores[at + ROWS] = vec4<f32>(c[4], c[5], c[6], c[7]);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  if (group.x * COLUMNS >= seen(group.y * ROWS + ROWS - 1u)) {
    return; // nobody reads these scores
  }
  let z = p.z0 + group.z;
  let x_from = (z * row_panels() + group.y) * p.vec4s * ROWS;
  let w_from = (z / p.group_size * key_panels() + group.x) * p.vec4s * COLUMNS;
  let c = tile(x_from, w_from, p.vec4s, lane);
  let at = panel_start(group.z, group.y) + (group.x * 16u + 2u * lane) * ROWS;
  store(at, c[0]);
  store(at + 1u, c[1]);
  store(at + 2u, c[2]);
  store(at + 3u, c[3]);
  store(at + 4u, c[4]);
  store(at + 5u, c[5]);
  store(at + 6u, c[6]);
  store(at + 7u, c[7]);
  store(at + 8u, c[8]);
  store(at + 9u, c[9]);
  store(at + 10u, c[10]);
  store(at + 11u, c[11]);
  store(at + 12u, c[12]);
  store(at + 13u, c[13]);
  store(at + 14u, c[14]);
  store(at + 15u, c[15]);
}
