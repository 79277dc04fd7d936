// The read ceiling: every vec4 of x, which bench.from_buffer or bench.from_texture reads, is read once and added up.
//   out: f32 [1], written only if a thread's sum is -1, which it never is (x is not negative).
// The grid's threads share the vec4s: neighbouring threads read neighbouring ones (SPLIT false), or each a stretch of its own
// (SPLIT true: what a CPU's prefetchers like). A round takes 8 vec4s, so that as many loads are on their way at once.
// Needs: SPLIT. VEC4S is a multiple of 8 times the threads. Limits: 64 invocations, 2 storage bindings.
struct Params {
  vec4s: u32,
  threads: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let each = p.vec4s / p.threads;
  let first = select(id.x, id.x * each, SPLIT);
  let pitch = select(p.threads, 1u, SPLIT);
  var a = vec4<f32>();
  var b = vec4<f32>();
  for (var i = 0u; i < each; i += 8u) {
    let at = first + i * pitch;
    a += vec4_at(at) + vec4_at(at + 2u * pitch) + (vec4_at(at + 4u * pitch) + vec4_at(at + 6u * pitch));
    b += vec4_at(at + pitch) + vec4_at(at + 3u * pitch) + (vec4_at(at + 5u * pitch) + vec4_at(at + 7u * pitch));
  }
  let total = dot(a + b, vec4<f32>(1.0));
  if (total == -1.0) {
    out[0] = total;
  }
}
