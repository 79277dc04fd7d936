// Weights rounded to f16, to nearest even; values below 2^-25 become zero, those above 65519 are counted. A thread: four elements.
// Needs: libs weight.f32/bf16, half, cast. Reference: reference/quantize.
@group(0) @binding(5) var<storage, read_write> to: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.vec4s) {
    return;
  }
  let v = weight(id.x);
  let h = vec4<u32>(half_bits(v.x), half_bits(v.y), half_bits(v.z), half_bits(v.w));
  let finite = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) < vec4<u32>(0x7f800000u);
  let over = select(vec4<u32>(0u), vec4<u32>(1u), finite & ((h & vec4<u32>(0x7fffu)) == vec4<u32>(0x7c00u)));
  let count = over.x + over.y + over.z + over.w;
  if (count > 0u) {
    atomicAdd(&refused[p.counter], count);
  }
  to[p.first + id.x] = vec2<u32>(h.x | (h.y << 16u), h.z | (h.w << 16u));
}
