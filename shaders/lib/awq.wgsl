// A Linear [N, K] as AWQ packs it (gemm, 4 bits, groups of 128 along K): W[n][k] = (q - z) * scale.
//   words [K, N / 8]: column 8c + j of a row is the nibble of word c at SHIFT[j]; zeros [K / 128, N / 8] in the same order
//   scales f16 [K / 128, N], two to a u32
// Writes rows FIRST .. FIRST + ROWS, four elements at a time. A thread makes 32 elements along K of eight rows: it and its neighbours read
// neighbouring words. N is a multiple of 8, K of 128. Needs: `put` in the variant. Reference: reference/awq.
struct Params {
  inner: u32, // K
  columns: u32, // N / 8
  first: u32, // FIRST
  rows: u32, // ROWS
  at: u32, // fours of elements before them in `to`
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read> zeros: array<u32>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;

const SHIFT = array<u32, 8>(0u, 16u, 4u, 20u, 8u, 24u, 12u, 28u);

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let c = p.first / 8u + id.x;
  let end = p.first + p.rows;
  if (8u * c >= end) {
    return;
  }
  let group = id.y / 4u;
  let zero = zeros[group * p.columns + c];
  var q: array<vec4<u32>, 8>;
  for (var i = 0u; i < 8u; i++) {
    let at = (32u * id.y + 4u * i) * p.columns + c;
    q[i] = vec4<u32>(words[at], words[at + p.columns], words[at + 2u * p.columns], words[at + 3u * p.columns]);
  }
  for (var j = 0u; j < 8u; j++) {
    let row = 8u * c + j;
    if (row < p.first || row >= end) {
      continue;
    }
    let shift = vec4<u32>(SHIFT[j]);
    let z = vec4<i32>(i32((zero >> shift.x) & 15u));
    let scale = unpack2x16float(scales[(group * 8u * p.columns + row) / 2u])[row % 2u];
    let to = p.at + (row - p.first) * (p.inner / 4u) + 8u * id.y;
    for (var i = 0u; i < 8u; i++) {
      put(to + i, vec4<i32>((q[i] >> shift) & vec4<u32>(15u)) - z, scale);
    }
  }
}
