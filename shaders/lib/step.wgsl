// What changes from replay to replay (src/gpu/program.ts), at binding 0 of every kernel.
// Needs: ROW_BASE, ROW_UNIT.
struct Step {
  units: u32, // tokens in the decoder, tiles in the vision tower
  start: u32, // position of the first token in the sequence
}
@group(0) @binding(0) var<uniform> step: Step;

fn row_count() -> u32 {
  return ROW_BASE + ROW_UNIT * step.units;
}
