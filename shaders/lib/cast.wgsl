// What the casts share: to[first + i] = source[i], four elements at a time, a thread each.
// Needs: a weight.* lib (source is its binding 3); `to` in the variant.
struct Params {
  first: u32, // vec4s before the first one written
  vec4s: u32,
  counter: u32, // index into `refused`
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> refused: array<atomic<u32>>; // finite elements that became infinite, by tensor
