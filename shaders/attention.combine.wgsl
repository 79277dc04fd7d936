// Puts the splits of decode attention together: out = Σ e_s part_s / Σ e_s sum_s, e_s = exp(top_s - the largest top).
//   parts: f32 [rows, HEADS, SPLITS, D + 4] as lib decode says   out: f32 [rows, HEADS D]
// Workgroup (head, row) of 32 threads, a vec4 of the columns each; no barrier. A row whose keys fit one split is complete already.
// Needs: D (a multiple of 4, up to 128); lib step. Limits: 32 invocations. Reference: reference/attention.
struct Params {
  splits: u32, // room in parts
  span: u32, // keys of a split
  heads: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const QUADS = D / 4u;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) column: u32) {
  let position = position_of(group.y);
  if (column >= QUADS || position < p.span) {
    return;
  }
  let head = group.y * p.heads + group.x;
  let first = head * p.splits * (QUADS + 1u);
  let end = first + (position / p.span + 1u) * (QUADS + 1u);
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
  out[head * QUADS + column] = value / sum;
}
