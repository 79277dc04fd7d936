// LayerNorm and RMSNorm as in norm.row, but a row a thread, without any barrier: on CPU adapters barriers cost more than all the arithmetic.
//   x: f32 [rows, WIDTH]   y: f32 [rows, WIDTH]; with LAST only the step's last row, into row 0.
// Workgroup of 8 threads, so that few rows still make work for every core. Two passes over a row: no cancellation.
// WIDTH is 4 vec4s. Needs: LAYER, LAST; lib step. Limits: 8 invocations. Reference: reference/norm.
struct Params {
  vec4s: u32,
  eps: f32,
  // rows = base + unit · step.units
  base: u32,
  unit: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.base + p.unit * step.units) {
    return;
  }
  let origin = select(id.x, step.units - 1u, LAST) * p.vec4s;
  let to = id.x * p.vec4s;
  var mean = 0.0;
  if (LAYER) {
    var sum = vec4<f32>();
    for (var i = 0u; i < p.vec4s; i++) {
      sum += x[origin + i];
    }
    mean = dot(sum, vec4<f32>(1.0)) / f32((4u * p.vec4s));
  }
  var squares = vec4<f32>();
  for (var i = 0u; i < p.vec4s; i++) {
    let centred = x[origin + i] - mean;
    squares += centred * centred;
  }
  let inverse = 1.0 / sqrt(dot(squares, vec4<f32>(1.0)) / f32((4u * p.vec4s)) + p.eps);
  for (var i = 0u; i < p.vec4s; i++) {
    var v = (x[origin + i] - mean) * inverse * weight[i];
    if (LAYER) {
      v += bias[i];
    }
    y[to + i] = v;
  }
}
