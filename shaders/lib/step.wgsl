// What changes from replay to replay (src/gpu/program.ts), at binding 0 of every kernel. A kernel's own sizes are at binding 1:
// uniforms, not constants, so that one pipeline serves every shape.
struct Step {
  units: u32, // tokens in the decoder, tiles in the vision tower
  start: u32, // position of the first token in the sequence
  unused0: u32,
  unused1: u32,
  positions: array<vec4<u32>, 2>, // of rows that are sequences of their own
  slots: array<vec4<u32>, 2>, // and where the caches, settings and ids of these sequences are
}
@group(0) @binding(0) var<uniform> step: Step;

fn position_of(row: u32) -> u32 {
  return step.positions[row / 4u][row % 4u];
}

fn slot_of(row: u32) -> u32 {
  return step.slots[row / 4u][row % 4u];
}
