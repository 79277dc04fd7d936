// Sizes of attention by panels (src/ops/attention-panels.ts) and what a query sees. A head is (batch, head) counted as one:
// z = batch HEADS + head; query head h reads kv head h / GROUP. causal: one batch of step.units queries, query r sees the keys
// 0 .. start + r. Otherwise ROWS queries see ROWS keys. Needs: lib step.
//   scores: [heads of a slice, ROW_PANELS, CAPACITY, 16] texels: those of four keys and a row
struct Params {
  rows: u32,
  causal: u32,
  row_panels: u32, // panels of 16 queries a head has room for
  capacity: u32, // key quads a head has room for, a multiple of 16
  quads: u32, // head width / 4
  z0: u32, // the slice's first head
  heads: u32,
  group_size: u32,
}
@group(0) @binding(1) var<uniform> p: Params;

const PANEL = 16u; // rows of a panel of queries

fn query_count() -> u32 {
  return select(p.rows, step.units, p.causal != 0u);
}

// Keys that a query sees.
fn seen(row: u32) -> u32 {
  return select(p.rows, step.start + min(row + 1u, step.units), p.causal != 0u);
}

// The first texel of the scores of a panel of a head of the slice.
fn panel_start(head: u32, panel: u32) -> u32 {
  return (head * p.row_panels + panel) * p.capacity * PANEL;
}
