// Scores to weights, in place: softmax over the keys that each query sees, zeros for the others that its panel sees.
//   scores: lib/scores. Workgroup (8 queries, head of the slice) of 8 threads, one query each.
// Needs: libs step, scores. Limits: 8 invocations, 1 storage binding. Reference: reference/attention.
@group(0) @binding(2) var<storage, read_write> scores: array<vec4<f32>>;

const LOWEST = -3.0e38; // stands for -infinity: exp(LOWEST - anything seen) is 0

// What keys past the end score.
fn masked(s: vec4<f32>, key: u32, keys: u32) -> vec4<f32> {
  return select(vec4<f32>(LOWEST), s, vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(keys));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * 8u + lane;
  let panel = row / 32u;
  let keys = seen(row);
  let end = (seen(panel * 32u + 31u) + 3u) / 4u;
  let from_ = (group.y * p.row_panels + panel) * p.capacity * 32u + row % 32u;
  var tops = vec4<f32>(LOWEST);
  for (var k = 0u; k < end; k++) {
    tops = max(tops, masked(scores[from_ + k * 32u], 4u * k, keys));
  }
  let top = max(max(tops.x, tops.y), max(tops.z, tops.w));
  var sums = vec4<f32>();
  for (var k = 0u; k < end; k++) {
    let weights = exp(masked(scores[from_ + k * 32u], 4u * k, keys) - top);
    scores[from_ + k * 32u] = weights;
    sums += weights;
  }
  let share = 1.0 / dot(sums, vec4<f32>(1.0));
  for (var k = 0u; k < end; k++) {
    scores[from_ + k * 32u] *= share;
  }
}
