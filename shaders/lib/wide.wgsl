// 64-bit unsigned integers as (low, high), and Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a
// counter-based generator: the same counter and key always give the same four words, in any order and on any thread.
fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn sub64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn at_most64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x <= b.x);
}

// a * b, whole.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let mid1 = (a >> 16u) * (b & 0xffffu);
  let mid2 = (a & 0xffffu) * (b >> 16u);
  let mid = (low >> 16u) + (mid1 & 0xffffu) + (mid2 & 0xffffu);
  return vec2<u32>((mid << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (mid1 >> 16u) + (mid2 >> 16u) + (mid >> 16u));
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let a = mul_wide(0xd2511f53u, c.x);
    let b = mul_wide(0xcd9e8d57u, c.z);
    c = vec4<u32>(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}
