// Queries of decode attention straight from the projection: rotated here, and so is the row's key, which is appended with its value by the
// workgroup whose split it belongs to. As rope.append, whose formula and table these are.
//   q: f32 [rows, (HEADS + 2 KV_HEADS) D] as q heads | k heads | v heads
// Needs: D a multiple of 8, THREADS; libs step, decode, kv_append.*.
@group(0) @binding(7) var<storage, read> table: array<vec4<f32>>; // (cos, sin) of two columns, [CONTEXT, D/2]

const HALF = VEC4S / 2u;

// Where head `head` of a row's q | k | v begins.
fn head_at(row: u32, head: u32) -> u32 {
  return (row * p.kv_heads * (GROUP + 2u) + head) * VEC4S;
}

// Vec4 c of the head at `at`, rotated for the row's position.
fn rotated(at: u32, row: u32, c: u32) -> vec4<f32> {
  let pair = position_of(row) * VEC4S + 2u * (c % HALF);
  let a = table[pair];
  let b = table[pair + 1u];
  let other = q[at + (c + HALF) % VEC4S];
  return q[at + c] * vec4<f32>(a.xz, b.xz) + select(other, -other, c < HALF) * vec4<f32>(a.yw, b.yw);
}

fn query(head: u32, row: u32, c: u32) -> vec4<f32> {
  return rotated(head_at(row, head - row * p.kv_heads * GROUP), row, c);
}

// The key and value of workgroup (kv head, split, row) become the cache's, key `key` of all.
fn append(group: vec3<u32>, key: u32, index: u32) {
  if (index < VEC4S / 2u) {
    let k_at = head_at(group.z, p.kv_heads * GROUP + group.x);
    let v_at = k_at + p.kv_heads * VEC4S + 2u * index;
    append_key(key * HALF + index, rotated(k_at, group.z, 2u * index), rotated(k_at, group.z, 2u * index + 1u));
    append_value(key * HALF + index, q[v_at], q[v_at + 1u]);
  }
  storageBarrier();
}
