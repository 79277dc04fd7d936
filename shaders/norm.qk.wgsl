// InternViT-6B's qk norm, in place: RMSNorm of the whole q (all heads concatenated) and of the whole k of a row of qkv.
//   qkv: f32 [rows, 3 WIDTH] as q | k | v   weights: q_norm, k_norm f32 [WIDTH]
// Workgroup (row, 0) normalises q, (row, 1) k; THREADS threads stride along the row.
// WIDTH is 4 vec4s. Needs: THREADS; libs step and total.*. Limits: THREADS invocations. Reference: reference/norm.
struct Params {
  vec4s: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q_norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k_norm: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> qkv: array<vec4<f32>>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let origin = group.x * 3u * p.vec4s + group.y * p.vec4s;
  let turns = select(0u, (p.vec4s - index + THREADS - 1u) / THREADS, index < p.vec4s); // counted down to 0: Dawn guards other loops
  var squares = 0.0;
  for (var t = turns; t > 0u; t--) {
    let v = qkv[origin + index + (t - 1u) * THREADS];
    squares += dot(v, v);
  }
  let inverse = 1.0 / sqrt(total(index, squares) / f32((4u * p.vec4s)) + p.eps);
  for (var t = turns; t > 0u; t--) {
    let i = index + (t - 1u) * THREADS;
    let weight = select(q_norm[i], k_norm[i], group.y == 1u);
    qkv[origin + i] *= inverse * weight;
  }
}
