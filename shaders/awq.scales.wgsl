// AWQ's scales [K / 128, N] into q8's [N, K / 32]: transposed, each four times, bit by bit (subnormal ones stay). Writes the rows
// FIRST .. FIRST + ROWS, two to a word. A thread: a word. Reference: reference/awq.
struct Params {
  inner: u32, // K
  columns: u32, // N / 8
  first: u32, // FIRST
  rows: u32, // ROWS
  at: u32, // words before them in `to`
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> to: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let per_row = p.inner / 64u;
  if (id.x >= p.rows * per_row) {
    return;
  }
  let row = p.first + id.x / per_row;
  let group = id.x % per_row / 2u;
  let half = (scales[(group * 8u * p.columns + row) / 2u] >> (16u * (row % 2u))) & 0xffffu;
  to[p.at + id.x] = half | (half << 16u);
}
