// Attention by panels, last: the values by the scores' softmax, which is made on the way (lib/operand.weights), the products of lib/panels.
//   x: the slice's scores   w: values [kv heads, VEC4S / 16, key vec4s, 64]; both in texture storage   row_max: attention.row_max
//   out: [batch rows, HEADS VEC4S] vec4s. Workgroup (64 columns, 16 queries, head of the slice) of one subgroup.
// Needs: subgroups of exactly 8 lanes, the extension subgroups; libs step, scores, texture, operand.weights, panels.
// Limits: 8 invocations, 2 storage buffers, 2 storage textures. Reference: reference/attention.
@group(0) @binding(4) var<storage, read> row_max: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

struct Target {
  start: u32,
  step: u32, // from row to row
  rows: u32, // that there are
  vec4s: u32, // of this lane's two
}

// Unrolled by its callers: an array that is indexed at run time is dear.
fn store(to: Target, i: u32, share: f32, c: array<f32, 8>) {
  if (i < to.rows) {
    if (to.vec4s > 0u) {
      out[to.start + i * to.step] = vec4<f32>(c[0], c[1], c[2], c[3]) * share;
    }
    if (to.vec4s > 1u) {
      out[to.start + i * to.step + 1u] = vec4<f32>(c[4], c[5], c[6], c[7]) * share;
    }
  }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = group.y * ROWS;
  for (var i = 0u; i < 2u; i++) {
    let at = row + 8u * i + lane;
    weighted[i] = Weighted(row_max[group.z * row_panels() * ROWS + at], seen(at), vec4<f32>());
  }
  let z = p.z0 + group.z;
  let w_from = (z / p.group_size * ((p.vec4s + 15u) / 16u) + group.x) * key_panels() * 16u * COLUMNS;
  let c = tile(panel_start(group.z, group.y), w_from, (seen(row + ROWS - 1u) + 3u) / 4u, lane);
  let share0 = 1.0 / dot(weighted[0].sum, vec4<f32>(1.0));
  let share1 = 1.0 / dot(weighted[1].sum, vec4<f32>(1.0));
  let column = group.x * 16u + 2u * lane;
  let to = Target(
    ((z / p.heads * p.rows + row) * p.heads + z % p.heads) * p.vec4s + column,
    p.heads * p.vec4s,
    query_count() - row,
    p.vec4s - min(column, p.vec4s),
  );
  store(to, 0u, subgroupBroadcast(share0, 0u), c[0]);
  store(to, 1u, subgroupBroadcast(share0, 1u), c[1]);
  store(to, 2u, subgroupBroadcast(share0, 2u), c[2]);
  store(to, 3u, subgroupBroadcast(share0, 3u), c[3]);
  store(to, 4u, subgroupBroadcast(share0, 4u), c[4]);
  store(to, 5u, subgroupBroadcast(share0, 5u), c[5]);
  store(to, 6u, subgroupBroadcast(share0, 6u), c[6]);
  store(to, 7u, subgroupBroadcast(share0, 7u), c[7]);
  store(to, 8u, subgroupBroadcast(share1, 0u), c[8]);
  store(to, 9u, subgroupBroadcast(share1, 1u), c[9]);
  store(to, 10u, subgroupBroadcast(share1, 2u), c[10]);
  store(to, 11u, subgroupBroadcast(share1, 3u), c[11]);
  store(to, 12u, subgroupBroadcast(share1, 4u), c[12]);
  store(to, 13u, subgroupBroadcast(share1, 5u), c[13]);
  store(to, 14u, subgroupBroadcast(share1, 6u), c[14]);
  store(to, 15u, subgroupBroadcast(share1, 7u), c[15]);
}
