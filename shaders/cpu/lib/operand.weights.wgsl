// Scores multiplied as softmax's weights, but for their sum, which is kept: for lib panels in attention.values.
//   Two rows a lane: rows 8 i + lane of the panel. Keys that a row does not see weigh nothing.
struct Weighted {
  row_max: f32, // the row's largest score
  keys: u32, // that the row sees
  sum: vec4<f32>, // of the weights so far
}
var<private> weighted: array<Weighted, 2>;

fn operand(scores: vec4<f32>, i: u32, k: u32) -> vec4<f32> {
  let row = &weighted[i];
  let is_seen = 4u * k + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>((*row).keys);
  let weights = select(vec4<f32>(), exp(min(scores - (*row).row_max, vec4<f32>())), is_seen);
  (*row).sum += weights;
  return weights;
}
