// InternViT-6B's qk norm, in place: RMSNorm of the whole q (all heads concatenated) and of the whole k of a row of qkv.
//   qkv: f32 [rows, 3 WIDTH] as q | k | v   weights: q_norm, k_norm f32 [WIDTH]
// Workgroup (row, 0) normalises q, (row, 1) k; 64 threads stride along the row.
// Needs: WIDTH (4 quads); lib step. Limits: 64 invocations. Reference: reference/norm.
struct Params {
  quads: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q_norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k_norm: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> qkv: array<vec4<f32>>;

const THREADS = 64u;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let origin = group.x * 3u * p.quads + group.y * p.quads;
  var squares = 0.0;
  for (var i = index; i < p.quads; i += THREADS) {
    squares += dot(qkv[origin + i], qkv[origin + i]);
  }
  sums[index] = squares;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      sums[index] += sums[index + half];
    }
    workgroupBarrier();
  }
  let inverse = 1.0 / sqrt(sums[0] / f32((4u * p.quads)) + p.eps);
  for (var i = index; i < p.quads; i += THREADS) {
    let weight = select(q_norm[i], k_norm[i], group.y == 1u);
    qkv[origin + i] *= inverse * weight;
  }
}
