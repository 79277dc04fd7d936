// Queries of decode attention straight from the projection: rotated here, and so is the row's key, which is appended with its value by the
// workgroup whose split it belongs to. As rope.append, whose formula and table these are.
//   q: f32 [rows, (HEADS + 2 KV_HEADS) D] as q heads | k heads | v heads
// A head's norm, where there is one (lib/query_norm.rms), is a factor of the whole head: of q it comes last, as a factor of the scores.
// Needs: D a multiple of 8, THREADS; libs step, decode, kv_append.*, query_norm.*.
@group(0) @binding(7) var<storage, read> table: array<vec4<f32>>; // (cos, sin) of two columns, [CONTEXT, D/2]

const HALF = VEC4S / 2u;

// Where head `head` of a row's q | k | v begins.
fn head_at(row: u32, head: u32) -> u32 {
  return (row * p.kv_heads * (GROUP + 2u) + head) * VEC4S;
}

// Vec4 c of the head at `at`, times the norm's weights (of k, or q) and rotated for the row's position.
fn rotated(at: u32, row: u32, c: u32, key: bool) -> vec4<f32> {
  let pair = position_of(row) * VEC4S + 2u * (c % HALF);
  let a = table[pair];
  let b = table[pair + 1u];
  let other = q[at + (c + HALF) % VEC4S] * norm_weight((c + HALF) % VEC4S, key);
  return q[at + c] * norm_weight(c, key) * vec4<f32>(a.xz, b.xz) + select(other, -other, c < HALF) * vec4<f32>(a.yw, b.yw);
}

fn query(head: u32, row: u32, c: u32) -> vec4<f32> {
  return rotated(head_at(row, head - row * p.kv_heads * GROUP), row, c, false);
}

// The sum of its squares before that.
fn query_square(head: u32, row: u32, c: u32) -> f32 {
  let own = q[head_at(row, head - row * p.kv_heads * GROUP) + c];
  return dot(own, own);
}

// The key and value of workgroup (kv head, split, row) become the cache's, key `key` of all.
fn append(group: vec3<u32>, key: u32, index: u32) {
  if (index < VEC4S / 2u) {
    let k_at = head_at(group.z, p.kv_heads * GROUP + group.x);
    let v_at = k_at + p.kv_heads * VEC4S + 2u * index;
    var squares = 0.0;
    for (var c = 0u; c < select(0u, VEC4S, NORMED); c++) {
      squares += dot(q[k_at + c], q[k_at + c]);
    }
    let factor = norm_factor(vec4<f32>(squares));
    append_key(key * HALF + index, factor * rotated(k_at, group.z, 2u * index, true), factor * rotated(k_at, group.z, 2u * index + 1u, true));
    append_value(key * HALF + index, q[v_at], q[v_at + 1u]);
  }
  storageBarrier();
}
