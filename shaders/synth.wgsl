// Synthetic weights: bf16 of a hash of the flat index (facts/SYNTHETIC.md §2 and §3), two to a u32, the even element in the low half.
//   out[first .. first + words] = elements 2 element, 2 element + 1, …  A thread makes a word. All arithmetic is exact but for the
//   rule's own two roundings, so every adapter gives the same bits. Reference: reference/synthetic.ts.
struct Params {
  k1: u32,
  k2: u32,
  element: u32, // the first word's first element
  first: u32, // words before it in `out`
  words: u32,
  factor: u32, // scale * 2^-23, as bits
  offset: u32, // as bits
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

fn element(i: u32) -> u32 {
  var h = i * 0x9e3779b9u + p.k1;
  h ^= h >> 16u;
  h *= 0x85ebca6bu;
  h ^= p.k2;
  h ^= h >> 13u;
  h *= 0xc2b2ae35u;
  h ^= h >> 16u;
  let v = f32(i32(h >> 8u) - 8388608) * bitcast<f32>(p.factor) + bitcast<f32>(p.offset);
  let bits = bitcast<u32>(v);
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.words) {
    let i = p.element + 2u * id.x;
    out[p.first + id.x] = element(i) | (element(i + 1u) << 16u);
  }
}
