// What changes from replay to replay (src/gpu/program.ts), at binding 0 of every kernel. A kernel's own sizes are at binding 1:
// uniforms, not constants, so that one pipeline serves every shape.
struct Step {
  units: u32, // tokens in the decoder, tiles in the vision tower
  start: u32, // position of the first token in the sequence
}
@group(0) @binding(0) var<uniform> step: Step;
