// Rotary embedding (rotate-half) of q and k, each head normed before where the family has it, and the append to the KV cache:
//   y[j] = x[j] cos[j] - x[j + D/2] sin[j],  y[j + D/2] = x[j + D/2] cos[j] + x[j] sin[j],  j < D/2
//   qkv: f32 [rows, (HEADS + 2 KV_HEADS) D] as q heads | k heads | v heads   table: (cos, sin) [CONTEXT, D/2]
//   q: f32 [rows, HEADS D]   keys, values: f32 or f16 [sequences, KV_HEADS, CONTEXT, D]
// SEPARATE: row r is the next token of the sequence in slot_of(r), at position_of(r).
// Otherwise the rows are the positions from step.start on of one sequence, which is SEQUENCE.
// Workgroup (row, head of q|k|v); a thread two neighbouring columns of each half. The table is computed on the CPU: WGSL's sin and cos
// are good to 2^-11 only.
// Needs: THREADS; D a multiple of 4; libs step, head_norm.* and append.*. Limits: THREADS invocations. Reference: reference/rope, reference/norm.
struct Params {
  pairs: u32, // D / 4: pairs in half a head
  heads: u32,
  kv_heads: u32,
  context: u32,
  sequence: u32,
  separate: u32,
  eps: f32, // of the heads' norm
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> qkv: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> table: array<vec4<f32>>; // (cos, sin) of two columns
@group(0) @binding(4) var<storage, read_write> q: array<vec2<f32>>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.x;
  let head = group.y;
  let separate = p.separate != 0u;
  var position = step.start + row;
  var sequence = p.sequence;
  if (separate) {
    position = position_of(row);
    sequence = slot_of(row);
  }
  let origin = (row * (p.heads + 2u * p.kv_heads) + head) * 2u * p.pairs;
  // Of a head of keys or values; wraps round for q, which does not use it.
  let kv_head = select(head - p.heads, head - p.heads - p.kv_heads, head >= p.heads + p.kv_heads);
  let cached = ((sequence * p.kv_heads + kv_head) * p.context + position) * 2u * p.pairs;
  let key = head >= p.heads; // or value
  var inverse = 1.0;
  if (head < p.heads + p.kv_heads) {
    inverse = inverse_rms(index, origin);
  }
  for (var j = index; j < p.pairs; j += THREADS) {
    let a = qkv[origin + j];
    let b = qkv[origin + j + p.pairs];
    let turn = table[position * p.pairs + j];
    let a1 = a * inverse * head_weight(key, j);
    let b1 = b * inverse * head_weight(key, j + p.pairs);
    let y0 = a1 * turn.xz - b1 * turn.yw;
    let y1 = b1 * turn.xz + a1 * turn.yw;
    if (head < p.heads) {
      let to = (row * p.heads + head) * 2u * p.pairs + j;
      q[to] = y0;
      q[to + p.pairs] = y1;
    } else if (head < p.heads + p.kv_heads) {
      append_key(cached + j, y0);
      append_key(cached + j + p.pairs, y1);
    } else {
      append_value(cached + j, a);
      append_value(cached + j + p.pairs, b);
    }
  }
}
