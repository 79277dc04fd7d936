// Sizes of attention by panels (src/ops/cpu/attention-panels.ts) and what a query sees. A head is (batch, head) counted as one:
// z = batch HEADS + head; query head h reads kv head h / GROUP. causal: one batch of step.units queries, query r sees the keys
// 0 .. start + r. Otherwise ROWS queries see ROWS keys. Panels lie as close together as a step's sizes allow. Needs: lib step.
//   scores: [heads of a slice, row panels, key vec4s, 16] vec4s, read from texture storage: those of four keys and a row
struct Params {
  rows: u32,
  causal: u32,
  vec4s: u32, // head width / 4
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

// Panels of queries that a head has.
fn row_panels() -> u32 {
  return (query_count() + PANEL - 1u) / PANEL;
}

// Panels of 64 keys that a head has.
fn key_panels() -> u32 {
  return (seen(query_count() - 1u) + 63u) / 64u;
}

// The first vec4 of the scores of a panel of a head of the slice.
fn panel_start(head: u32, panel: u32) -> u32 {
  return (head * row_panels() + panel) * key_panels() * 16u * PANEL;
}
