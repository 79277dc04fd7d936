// Attention of one query a head over the KV cache: out = softmax(q kᵀ / sqrt(D)) v, the keys 0..start.
//   q: f32 [1, HEADS D]   k, v: f32 [kv heads, CONTEXT, D]   out: f32 [1, HEADS D]
// A workgroup of 64 threads takes one head, 64 keys at a time: first a thread a key (its score), then a thread a column (its sum).
// Needs: D (a multiple of 4); lib step. Limits: 64 invocations. Reference: reference/attention.
struct Params {
  heads: u32,
  group_size: u32,
  context: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const THREADS = 64u;
const QUADS = D / 4u;
const LOWEST = -3.0e38;

var<workgroup> qs: array<vec4<f32>, QUADS>;
var<workgroup> acc: array<f32, D>;
var<workgroup> scores: array<f32, 64>;
var<workgroup> reduced: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let head = group.x;
  let base = (head / p.group_size) * p.context * D;
  let keys = step.start + 1u;
  for (var i = index; i < QUADS; i += THREADS) {
    qs[i] = q[head * QUADS + i] * (1.0 / sqrt(f32(D)));
  }
  for (var i = index; i < D; i += THREADS) {
    acc[i] = 0.0;
  }
  workgroupBarrier();
  var highest = LOWEST;
  var sum = 0.0;
  for (var key0 = 0u; key0 < keys; key0 += THREADS) {
    let key = key0 + index;
    var s = LOWEST;
    if (key < keys) {
      s = 0.0;
      let at = base / 4u + key * QUADS;
      for (var i = 0u; i < QUADS; i++) {
        s += dot(qs[i], k[at + i]);
      }
    }
    scores[index] = s;
    reduced[index] = s;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
      if (index < half) {
        reduced[index] = max(reduced[index], reduced[index + half]);
      }
      workgroupBarrier();
    }
    let top = max(highest, reduced[0]);
    let shrink = exp(highest - top);
    highest = top;
    let count = min(THREADS, keys - key0);
    var added = 0.0;
    for (var j = 0u; j < count; j++) {
      added += exp(scores[j] - top);
    }
    sum = sum * shrink + added;
    for (var i = index; i < D; i += THREADS) {
      var a = acc[i] * shrink;
      for (var j = 0u; j < count; j++) {
        a += exp(scores[j] - top) * v[base + (key0 + j) * D + i];
      }
      acc[i] = a;
    }
    workgroupBarrier();
  }
  for (var i = index; i < D; i += THREADS) {
    out[head * D + i] = acc[i] / sum;
  }
}
