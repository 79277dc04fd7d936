// Rotary embedding (rotate-half) of q and k, and the append to the KV cache:
//   y[j] = x[j] cos[j] - x[j + D/2] sin[j],  y[j + D/2] = x[j + D/2] cos[j] + x[j] sin[j],  j < D/2
//   qkv: f32 [rows, (HEADS + 2 KV_HEADS) D] as q heads | k heads | v heads   table: (cos, sin) [CONTEXT, D/2]
//   q: f32 [rows, HEADS D]   keys, values: f32 [KV_HEADS, CONTEXT, D], row start + r
// Workgroup (row, head of q|k|v); a thread a pair. The table is computed on the CPU: WGSL's sin and cos are good to 2^-11 only.
// Needs: D (even), HEADS, KV_HEADS, CONTEXT; lib step. Limits: 64 invocations. Reference: reference/rope.
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> q: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;

const HALF = D / 2u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.x;
  let head = group.y;
  let position = step.start + row;
  let origin = (row * (HEADS + 2u * KV_HEADS) + head) * D;
  for (var j = index; j < HALF; j += 64u) {
    let a = qkv[origin + j];
    let b = qkv[origin + j + HALF];
    let turn = table[position * HALF + j];
    let rotated = vec2<f32>(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
    if (head < HEADS) {
      let to = (row * HEADS + head) * D + j;
      q[to] = rotated.x;
      q[to + HALF] = rotated.y;
    } else if (head < HEADS + KV_HEADS) {
      let to = ((head - HEADS) * CONTEXT + position) * D + j;
      keys[to] = rotated.x;
      keys[to + HALF] = rotated.y;
    } else {
      let to = ((head - HEADS - KV_HEADS) * CONTEXT + position) * D + j;
      values[to] = a;
      values[to + HALF] = b;
    }
  }
}
