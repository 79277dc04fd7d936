// What the q8 and q4 quantisers share. A thread makes a group. Two groups' scales share a word; each thread touches its own half alone.
//   source: groups of 32 elements, from its start   codes, scales: those of a whole part; the groups FIRST .. FIRST + GROUPS are written
// Needs: a weight.* lib (source is its binding 3), lib/half; quantize_group in the variant.
struct Params {
  first: u32, // FIRST
  groups: u32,
  counter: u32, // index into `refused`
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> refused: array<atomic<u32>>; // groups that this format cannot hold, by tensor
@group(0) @binding(5) var<storage, read_write> codes: array<u32>;
@group(0) @binding(6) var<storage, read_write> scales: array<atomic<u32>>;

// Below this, a group's scale would round to zero in f16.
const LEAST = 1.4901161e-8; // 2^-26

fn finite(v: vec4<f32>) -> bool {
  return all((bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) < vec4<u32>(0x7f800000u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.groups) {
    return;
  }
  let group = p.first + id.x;
  var x: array<vec4<f32>, 8>;
  var ok = true;
  for (var i = 0u; i < 8u; i++) {
    x[i] = weight(id.x * 8u + i);
    ok = ok && finite(x[i]);
  }
  let scale = quantize_group(&x, group);
  if (!ok || (scale & 0x7c00u) == 0x7c00u) {
    atomicAdd(&refused[p.counter], 1u);
  }
  let shift = 16u * (group % 2u);
  atomicAnd(&scales[group / 2u], 0xffff0000u >> shift);
  atomicOr(&scales[group / 2u], scale << shift);
}
