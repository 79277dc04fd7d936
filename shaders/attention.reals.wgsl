// Operands of attention on matrix units, in f16: queries times log2(e) / sqrt(D), keys, and values transposed
// within blocks of 32 keys, so that every fragment is loaded at a constant stride. Past the last query and key lie zeros.
//   reals: q [parts, batches HEADS, Q_ROOM, D] | k [parts, batches KV_HEADS, KV_ROOM, D] | v [parts, batches KV_HEADS, KV_ROOM / 32, D, 32]
// An operand has one part, the number rounded, or two, hi + lo = the number to 2^-22.
// Workgroup (block of 32 queries or keys, head of q | k | v, batch) of 64 threads. Other tensors, and what is there: lib/attention.
// Needs: D a multiple of 32, QPARTS, KPARTS; libs step, attention, kv.*. Limits: 64 invocations, 4 storage bindings.
const BLOCK = 32u;

@group(0) @binding(6) var<storage, read_write> reals: array<vec2<u32>>; // four f16 each

fn keep(i: u32, v: vec4<f32>) {
  reals[i] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

// The part of a number that f16 holds, by its bits: compilers take f32(f16(v)) for v.
fn top(v: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) & vec4<u32>(0xffffe000u));
}

// v at element `at`, its second part, if there is one, `next` elements behind.
fn keep_parts(at: u32, v: vec4<f32>, parts: u32, next: u32) {
  if (parts == 1u) {
    keep(at / 4u, v);
  } else {
    keep(at / 4u, top(v));
    keep((at + next) / 4u, v - top(v));
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let keys = select(p.q_rows, step.start + step.units, causal);
  let kv_heads = p.heads / p.group_size;
  let row0 = group.x * BLOCK;
  if (group.y < p.heads) {
    if (row0 >= p.q_room) {
      return;
    }
    for (var i = index; i < BLOCK * VEC4S; i += 64u) {
      let row = row0 + i / VEC4S;
      let x = q[(group.z * p.q_rows + min(row, rows - 1u)) * (p.q_stride / 4u) + group.y * VEC4S + i % VEC4S];
      let at = ((group.z * p.heads + group.y) * p.q_room + row) * D + 4u * (i % VEC4S);
      keep_parts(at, select(vec4<f32>(), x * (1.4426950408889634 / sqrt(f32(D))), row < rows), QPARTS, 32u * p.q_part);
    }
    return;
  }
  let head = (group.y - p.heads) % kv_heads;
  let base = group.z * p.kv_batch + head * p.kv_head;
  let next = 32u * p.kv_part;
  let k_at = QPARTS * 32u * p.q_part;
  let v_at = k_at + KPARTS * next;
  let first = ((group.z * kv_heads + head) * p.kv_room + row0) * D;
  if (row0 >= p.kv_room) {
    return;
  }
  if (group.y < p.heads + kv_heads) {
    for (var i = index; i < BLOCK * VEC4S; i += 64u) {
      let key = row0 + i / VEC4S;
      let x = key_vec4((p.k_offset + base + min(key, keys - 1u) * p.kv_stride) / 4u + i % VEC4S);
      keep_parts(k_at + first + 4u * i, select(vec4<f32>(), x, key < keys), KPARTS, next);
    }
    return;
  }
  for (var i = index; i < BLOCK * VEC4S / 4u; i += 64u) { // four keys, a vec4 of their columns
    let key = row0 + i / VEC4S * 4u;
    var four: mat4x4<f32>;
    for (var e = 0u; e < 4u; e++) {
      let x = value_vec4((p.v_offset + base + min(key + e, keys - 1u) * p.kv_stride) / 4u + i % VEC4S);
      four[e] = select(vec4<f32>(), x, key + e < keys);
    }
    four = transpose(four);
    for (var e = 0u; e < 4u; e++) {
      keep_parts(v_at + first + (i % VEC4S * 4u + e) * BLOCK + i / VEC4S * 4u, four[e], KPARTS, next);
    }
  }
}
