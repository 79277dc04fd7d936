// The copy ceiling: y = x.
//   x, y: f32 [4 VEC4S]
// The grid's threads share the vec4s: neighbouring threads take neighbouring ones (SPLIT false), or each a stretch of its own (SPLIT true).
// Needs: SPLIT. VEC4S is a multiple of 4 times the threads. Limits: 64 invocations, 2 storage bindings.
struct Params {
  vec4s: u32,
  threads: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let each = p.vec4s / p.threads;
  let first = select(id.x, id.x * each, SPLIT);
  let pitch = select(p.threads, 1u, SPLIT);
  for (var i = 0u; i < each; i += 4u) {
    let at = first + i * pitch;
    let a = x[at];
    let b = x[at + pitch];
    let c = x[at + 2u * pitch];
    let d = x[at + 3u * pitch];
    y[at] = a;
    y[at + pitch] = b;
    y[at + 2u * pitch] = c;
    y[at + 3u * pitch] = d;
  }
}
