// Weights rounded to bf16, to nearest even; what rounds above the largest bf16 is counted. A thread: four elements.
// Needs: libs weight.f32/f16, cast. Reference: reference/quantize.
@group(0) @binding(5) var<storage, read_write> to: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.vec4s) {
    return;
  }
  let bits = bitcast<vec4<u32>>(weight(id.x));
  let special = (bits & vec4<u32>(0x7fffffffu)) >= vec4<u32>(0x7f800000u); // infinities and NaN are not rounded: a carry would change them
  let rounded = (bits + 0x7fffu + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u))) >> vec4<u32>(16u);
  let h = select(rounded, bits >> vec4<u32>(16u), special);
  let over = select(vec4<u32>(0u), vec4<u32>(1u), !special & ((h & vec4<u32>(0x7fffu)) == vec4<u32>(0x7f80u)));
  let count = over.x + over.y + over.z + over.w;
  if (count > 0u) {
    atomicAdd(&refused[p.counter], count);
  }
  to[p.first + id.x] = vec2<u32>(h.x | (h.y << 16u), h.z | (h.w << 16u));
}
