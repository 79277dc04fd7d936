// Puts the splits of decode attention together: out = Σ e_s part_s / Σ e_s sum_s, e_s = exp(max_s - the largest of them).
//   parts: f32 [rows, HEADS, SPLITS, D + 4] as lib decode says   out: f32 [rows, HEADS D]
// Workgroup (head, row) of 32 threads, a vec4 of the columns each; no barrier. A row whose keys fit one split is complete already.
// Needs: D (a multiple of 4, up to 128); lib step. Limits: 32 invocations. Reference: reference/attention.
struct Params {
  splits: u32, // room in parts
  split_keys: u32, // keys of a split
  heads: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const VEC4S = D / 4u;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) column: u32) {
  let position = position_of(group.y);
  if (column >= VEC4S || position < p.split_keys) {
    return;
  }
  let head = group.y * p.heads + group.x;
  let first = head * p.splits * (VEC4S + 1u);
  let end = first + (position / p.split_keys + 1u) * (VEC4S + 1u);
  var row_max = parts[first + VEC4S].x;
  for (var at = first; at < end; at += VEC4S + 1u) {
    row_max = max(row_max, parts[at + VEC4S].x);
  }
  var value = vec4<f32>();
  var sum = 0.0;
  for (var at = first; at < end; at += VEC4S + 1u) {
    let part = parts[at + VEC4S];
    let weight = exp(part.x - row_max);
    sum += weight * part.y;
    value += weight * parts[at + column];
  }
  out[head * VEC4S + column] = value / sum;
}
