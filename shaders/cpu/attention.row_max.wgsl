// Attention by panels, second: the largest score of each query.
//   scores: lib/scores   row_max: [heads of the slice, 16 row panels]. Workgroup (8 queries, head of the slice) of 8 threads, one query each.
// Needs: libs step, scores, texture. Limits: 8 invocations, 1 storage buffer, 1 storage texture. Reference: reference/attention.
@group(0) @binding(2) var scores: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read_write> row_max: array<f32>;

const LOWEST = -3.0e38; // stands for -infinity

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * 8u + lane;
  let keys = seen(row);
  let from_ = panel_start(group.y, row / PANEL) + row % PANEL;
  var own = vec4<f32>(LOWEST);
  for (var k = 0u; 4u * k < keys; k++) {
    let is_seen = 4u * k + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(keys);
    own = max(own, select(vec4<f32>(LOWEST), textureLoad(scores, texture_at(from_ + k * PANEL)), is_seen));
  }
  row_max[group.y * row_panels() * PANEL + row] = max(max(own.x, own.y), max(own.z, own.w));
}
