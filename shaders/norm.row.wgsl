// LayerNorm  y = (x - mean) / sqrt(var + eps) * weight + bias   (var biased), or
// RMSNorm    y = weight * x / sqrt(mean(x²) + eps), one row a workgroup.
//   x: f32 [rows, WIDTH]   y: f32 [rows, WIDTH]; with LAST only the step's last row, into row 0.
// THREADS threads stride along the row; statistics in f32, the variance from the centred values (two passes: no cancellation).
// WIDTH is 4 vec4s. Needs: LAYER, LAST, THREADS; libs step and total.*. Limits: THREADS invocations. Reference: reference/norm.
struct Params {
  vec4s: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let origin = select(group.x, step.units - 1u, LAST) * p.vec4s;
  let to = group.x * p.vec4s;
  let turns = select(0u, (p.vec4s - index + THREADS - 1u) / THREADS, index < p.vec4s); // counted down to 0: Dawn guards other loops
  var mean = 0.0;
  if (LAYER) {
    var sum = vec4<f32>();
    for (var t = turns; t > 0u; t--) {
      sum += x[origin + index + (t - 1u) * THREADS];
    }
    mean = total(index, dot(sum, vec4<f32>(1.0))) / f32((4u * p.vec4s));
  }
  var squares = 0.0;
  for (var t = turns; t > 0u; t--) {
    let centred = x[origin + index + (t - 1u) * THREADS] - mean;
    squares += dot(centred, centred);
  }
  let inverse = 1.0 / sqrt(total(index, squares) / f32((4u * p.vec4s)) + p.eps);
  for (var t = turns; t > 0u; t--) {
    let i = index + (t - 1u) * THREADS;
    var v = (x[origin + i] - mean) * inverse * weight[i];
    if (LAYER) {
      v += bias[i];
    }
    y[to + i] = v;
  }
}
