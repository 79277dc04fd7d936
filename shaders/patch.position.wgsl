// Class token and position embedding: x[0] = class + position[0], x[t] += position[t] for every other token of a tile.
//   x: f32 [tiles TOKENS, WIDTH]   class_embedding: f32 [WIDTH]   position: f32 [TOKENS, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. WIDTH is 4 vec4s. Needs: lib step. Reference: reference/patch.
struct Params {
  vec4s: u32,
  tokens: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> class_embedding: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> position: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.vec4s) {
    return;
  }
  let token = id.y % p.tokens;
  let at = id.y * p.vec4s + id.x;
  x[at] = select(x[at], class_embedding[id.x], token == 0u) + position[token * p.vec4s + id.x];
}
