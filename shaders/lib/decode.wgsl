// Bindings and layout of attention of one query a head over the KV cache, its keys split over workgroups (src/ops/attention-decode.ts).
//   q, out: f32 [rows, HEADS D]   k, v: lib kv.*, [slots, KV_HEADS, CONTEXT, D]; the GROUP heads from g GROUP on share kv head g
//   parts: f32 [rows, HEADS, SPLITS, D + 4]: what a split makes of a head before it is divided: Σ exp(s - row_max) v, then row_max, Σ exp(s - row_max), 0, 0
// Row r sees the keys 0..position_of(r) of slot_of(r). Workgroup (kv head, split, row) takes those of its split, of split_keys_of (lib/splits).
// Where one split has them all, it writes to out.
// Rows and heads are counted together: HEADS = KV_HEADS GROUP, so kv head g of row r is the (r KV_HEADS + g)th, with the GROUP heads from
// (r KV_HEADS + g) GROUP on. So are slots and kv heads.
// Needs: D (a multiple of 4), GROUP; libs step, splits and kv.*.
struct Params {
  splits: u32, // room in parts
  split_keys: u32,
  context: u32,
  kv_heads: u32,
  group_size: u32, // GROUP and VEC4S again, for loops that must stay loops
  vec4s: u32,
  few: u32, // lib/splits
  eps: f32, // of the heads' norm, where there is one (lib/query.rope)
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;

const VEC4S = D / 4u;
const LOWEST = -3.0e38; // stands for -infinity: exp(LOWEST - anything seen) is 0

fn key_count(row: u32) -> u32 {
  return position_of(row) + 1u;
}

// A column of a head's sum over a split.
fn store(part: Part, head: u32, split: u32, column: u32, result: vec4<f32>, sum: f32) {
  if (part.whole) {
    out[head * VEC4S + column] = result / sum;
  } else {
    parts[(head * p.splits + split) * (VEC4S + 1u) + column] = result;
  }
}

fn store_sum(part: Part, head: u32, split: u32, row_max: f32, sum: f32) {
  if (!part.whole) {
    parts[(head * p.splits + split) * (VEC4S + 1u) + VEC4S] = vec4<f32>(row_max, sum, 0.0, 0.0);
  }
}

// What a workgroup (kv head, split, row) takes.
struct Part {
  row: u32,
  head0: u32, // the first of its GROUP heads, of all rows
  base: u32, // its first key, counted through all slots and kv heads
  count: u32, // of keys, 0 where the split lies behind the last one
  last: bool, // whether the row's last key is among them
  whole: bool, // and all others
}

fn part_of(group: vec3<u32>) -> Part {
  let heads = group.z * p.kv_heads + group.x;
  let kv_head = slot_of(group.z) * p.kv_heads + group.x;
  let keys = key_count(group.z);
  let most = split_keys_of(keys, p.split_keys, p.splits, p.few);
  let first = group.y * most;
  let count = min(max(keys, first) - first, most);
  return Part(group.z, heads * GROUP, kv_head * p.context + first, count, first + count == keys, keys <= most);
}
