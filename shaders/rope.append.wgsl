// Rotary embedding (rotate-half) of q and k, and the append to the KV cache:
//   y[j] = x[j] cos[j] - x[j + D/2] sin[j],  y[j + D/2] = x[j + D/2] cos[j] + x[j] sin[j],  j < D/2
//   qkv: f32 [rows, (HEADS + 2 KV_HEADS) D] as q heads | k heads | v heads   table: (cos, sin) [CONTEXT, D/2]
//   q: f32 [rows, HEADS D]   keys, values: f32 [KV_HEADS, CONTEXT, D], row start + r
// Workgroup (row, head of q|k|v); a thread a pair. The table is computed on the CPU: WGSL's sin and cos are good to 2^-11 only.
// Needs: D even; lib step. Limits: 64 invocations. Reference: reference/rope.
struct Params {
  d: u32,
  heads: u32,
  kv_heads: u32,
  context: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> q: array<f32>;
@group(0) @binding(5) var<storage, read_write> keys: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.x;
  let head = group.y;
  let position = step.start + row;
  let origin = (row * (p.heads + 2u * p.kv_heads) + head) * p.d;
  for (var j = index; j < (p.d / 2u); j += 64u) {
    let a = qkv[origin + j];
    let b = qkv[origin + j + (p.d / 2u)];
    let turn = table[position * (p.d / 2u) + j];
    let rotated = vec2<f32>(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
    if (head < p.heads) {
      let to = (row * p.heads + head) * p.d + j;
      q[to] = rotated.x;
      q[to + (p.d / 2u)] = rotated.y;
    } else if (head < p.heads + p.kv_heads) {
      let to = ((head - p.heads) * p.context + position) * p.d + j;
      keys[to] = rotated.x;
      keys[to + (p.d / 2u)] = rotated.y;
    } else {
      let to = ((head - p.heads - p.kv_heads) * p.context + position) * p.d + j;
      values[to] = a;
      values[to + (p.d / 2u)] = b;
    }
  }
}
