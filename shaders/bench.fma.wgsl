// The arithmetic ceiling: CHAINS independent chains of acc = acc * scale + shift on vec4s, LINKS links a round.
//   out: f32 [1], written only if the sum of a thread is -1, which it never is: the compiler cannot drop the chains.
// 8 CHAINS LINKS flops a thread and round. FUSED: with fma(), otherwise a product and a sum.
// Needs: CHAINS, LINKS, FUSED. Limits: 64 invocations.
struct Params {
  rounds: u32,
  scale: f32,
  shift: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn link(acc: vec4<f32>, scale: vec4<f32>, shift: vec4<f32>) -> vec4<f32> {
  if (FUSED) {
    return fma(acc, scale, shift);
  }
  return acc * scale + shift;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let scale = vec4<f32>(p.scale);
  let shift = vec4<f32>(p.shift);
  var acc: array<vec4<f32>, CHAINS>;
  for (var c = 0u; c < CHAINS; c++) {
    acc[c] = vec4<f32>(f32(id.x % 7u), f32(c), 2.0, 3.0);
  }
  for (var i = 0u; i < p.rounds; i++) {
    for (var l = 0u; l < LINKS; l++) {
      for (var c = 0u; c < CHAINS; c++) {
        acc[c] = link(acc[c], scale, shift);
      }
    }
  }
  var sum = vec4<f32>();
  for (var c = 0u; c < CHAINS; c++) {
    sum += acc[c];
  }
  let total = dot(sum, vec4<f32>(1.0));
  if (total == -1.0) {
    out[0] = total;
  }
}
