// Puts the splits of attention together: out = Σ e_s part_s / Σ e_s sum_s, e_s = exp(max_s - the largest of them).
//   parts: f32 [rows, HEADS, SPLITS, D + 4], of decode attention (DECODE) as lib decode says, else of attention.flash   out: f32 [rows, HEADS D]
// Workgroup (head, row) of 32 threads, a vec4 of the columns each; no barrier. A row whose keys fit one split of decode attention is complete.
// Needs: D (a multiple of 4, up to 128), DECODE; libs step, splits. Limits: 32 invocations. Reference: reference/attention.
struct Params {
  splits: u32, // room in parts
  split_keys: u32, // keys of a split, at least
  heads: u32,
  few: u32, // lib/splits
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const VEC4S = D / 4u;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) column: u32) {
  if (column >= VEC4S) {
    return;
  }
  let head = group.y * p.heads + group.x;
  let first = head * p.splits * (VEC4S + 1u);
  var used: u32;
  if (DECODE) {
    let position = position_of(group.y);
    let split_keys = split_keys_of(position + 1u, p.split_keys, p.splits, p.few);
    if (position < split_keys) {
      return;
    }
    used = position / split_keys + 1u;
  } else {
    used = u32(parts[first + VEC4S].z);
  }
  let base = select(0.6931471805599453, 1.0, DECODE); // of the maxima: 2 or e
  let end = first + used * (VEC4S + 1u);
  var row_max = parts[first + VEC4S].x;
  for (var at = first; at < end; at += VEC4S + 1u) {
    row_max = max(row_max, parts[at + VEC4S].x);
  }
  var value = vec4<f32>();
  var sum = 0.0;
  for (var at = first; at < end; at += VEC4S + 1u) {
    let part = parts[at + VEC4S];
    let weight = exp((part.x - row_max) * base);
    sum += weight * part.y;
    value += weight * parts[at + column];
  }
  out[head * VEC4S + column] = value / sum;
}
