// Sets flags[counter] to 1 where a stretch of weights holds an infinity or a NaN: an element whose exponent bits are all ones. That is so
// exactly when adding ONE, the lowest exponent bit, to the exponent bits carries out of them, into the bit that held the sign.
// Two elements to a word (bf16, f16) do not disturb each other: the sum of each stays within its half.
// words: any number of vec4s; a thread looks at every stride-th one, so that neighbours read neighbours.
// mask, one, top: exponent bits, lowest exponent bits and sign bits of a word. test/weights/finite.test.ts tries all patterns of bits.
struct Params {
  vec4s: u32, // in `words`
  stride: u32, // threads of the dispatch
  counter: u32,
  mask: u32,
  one: u32,
  top: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> flags: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let mask = vec4<u32>(p.mask);
  let one = vec4<u32>(p.one);
  let last = p.vec4s - 1u; // looked at again where a step goes beyond it, which changes nothing
  var carried = vec4<u32>(0u);
  for (var i = id.x; i <= last; i += 4u * p.stride) {
    carried |= (words[i] & mask) + one;
    carried |= (words[min(i + p.stride, last)] & mask) + one;
    carried |= (words[min(i + 2u * p.stride, last)] & mask) + one;
    carried |= (words[min(i + 3u * p.stride, last)] & mask) + one;
  }
  let any_carry = (carried.x | carried.y | carried.z | carried.w) & p.top;
  if (any_carry != 0u) {
    atomicOr(&flags[p.counter], 1u);
  }
}
