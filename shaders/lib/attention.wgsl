// What the kernels share that attend with many rows at once: where queries, keys and values lie, and what a query sees.
//   q: f32, query row r of batch b and head h at (b Q_ROWS + r) Q_STRIDE + h D          out: f32 [batch rows, HEADS D]
//   k, v: lib kv.*, key j of batch b and kv head g at OFFSET + b KV_BATCH + g KV_HEAD + j KV_STRIDE (in elements; OFFSET is K_OFFSET or V_OFFSET)
// causal (a uniform: one pipeline serves both): one batch of step.units queries, query r sees the keys 0..start + r.
// Otherwise Q_ROWS queries see Q_ROWS keys. Query head h reads kv head h / GROUP.
// Needs: D; libs step and kv.*.
struct Params {
  heads: u32,
  group_size: u32,
  q_rows: u32,
  q_stride: u32,
  k_offset: u32,
  v_offset: u32,
  kv_batch: u32,
  kv_head: u32,
  kv_stride: u32,
  causal: u32,
  splits: u32, // of the keys, at most, where a kernel splits them
  q_room: u32, // of attention.reals: queries and keys that there is room for, and the elements of a part of them, in units of 32
  kv_room: u32,
  q_part: u32,
  kv_part: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

const VEC4S = D / 4u;
const LOWEST = -3.0e38; // stands for -infinity: exp(LOWEST - anything seen) is 0
