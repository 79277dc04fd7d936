// Where the rows of a head lie that go into panels (src/ops/cpu/attention-panels.ts): head z = batch HEADS + head. Needs: lib step.
struct Params {
  rows: u32, // of a batch; causal: step.units (1), or step.start + step.units (2)
  causal: u32,
  offset: u32, // vec4 of batch 0, head 0, row 0
  batch: u32, // vec4s from batch to batch
  head: u32,
  stride: u32, // from row to row
  heads: u32,
  vec4s: u32, // head width / 4
  height: u32, // rows of a panel: 16 of queries, 64 of keys
  scale: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn row_count() -> u32 {
  return select(p.rows, step.units + select(0u, step.start, p.causal == 2u), p.causal != 0u);
}

// The vec4 that a head's rows count from.
fn origin(z: u32) -> u32 {
  return p.offset + z / p.heads * p.batch + z % p.heads * p.head;
}
