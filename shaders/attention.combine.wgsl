// Puts the splits of decode attention together: out = Σ e_s part_s / Σ e_s sum_s, e_s = exp(top_s - the largest top).
//   parts: f32 [HEADS, SPLITS, D + 4] as lib decode says   out: f32 [1, HEADS D]
// Workgroup (head) of 32 threads, a vec4 of the columns each; no barrier.
// Needs: D (a multiple of 4, up to 128); lib step. Limits: 32 invocations. Reference: reference/attention.
struct Params {
  splits: u32, // room in parts
  span: u32, // keys of a split
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const QUADS = D / 4u;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) column: u32) {
  if (column >= QUADS) {
    return;
  }
  let first = group.x * p.splits * (QUADS + 1u);
  let end = first + (step.start / p.span + 1u) * (QUADS + 1u);
  var top = parts[first + QUADS].x;
  for (var at = first; at < end; at += QUADS + 1u) {
    top = max(top, parts[at + QUADS].x);
  }
  var value = vec4<f32>();
  var sum = 0.0;
  for (var at = first; at < end; at += QUADS + 1u) {
    let part = parts[at + QUADS];
    let weight = exp(part.x - top);
    sum += weight * part.y;
    value += weight * parts[at + column];
  }
  out[group.x * QUADS + column] = value / sum;
}
