// Matrix product for CPU adapters whose subgroups have 8 lanes: products[m, n] = Σ_k x[m, k] · w[n, k]; matmul.finish does the rest.
// matmul.pack has put both operands into panels (lib/panels); a workgroup of one subgroup makes a tile of 16 rows × 64 columns.
//   x: [rows / 16, K / 4, 16] vec4s   w: [n / 64, K / 4, 64] vec4s, the same for all formats. Both lie in texture storage; past the end
//   they repeat the last row.
//   products: f32, whole tiles: [rows up to a multiple of 16, n up to a multiple of 64]
// Needs: subgroups of exactly 8 lanes, the extension subgroups; libs step, texture, operand.plain, panels.
// Limits: 8 invocations, 1 storage buffer, 2 storage textures. Reference: reference/matmul.
struct Params {
  vec4s: u32, // K / 4
  wide: u32, // vec4s in a row of products
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read_write> products: array<vec4<f32>>;

// Unrolled by its callers: an array that is indexed at run time is dear.
fn store(at: u32, c: array<f32, 8>) {
  products[at] = vec4<f32>(c[0], c[1], c[2], c[3]);
  products[at + 1u] = vec4<f32>(c[4], c[5], c[6], c[7]);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let c = tile(group.y * ROWS * p.vec4s, group.x * COLUMNS * p.vec4s, p.vec4s, lane);
  let at = group.y * ROWS * p.wide + group.x * (COLUMNS / 4u) + 2u * lane;
  store(at, c[0]);
  store(at + p.wide, c[1]);
  store(at + 2u * p.wide, c[2]);
  store(at + 3u * p.wide, c[3]);
  store(at + 4u * p.wide, c[4]);
  store(at + 5u * p.wide, c[5]);
  store(at + 6u * p.wide, c[6]);
  store(at + 7u * p.wide, c[7]);
  store(at + 8u * p.wide, c[8]);
  store(at + 9u * p.wide, c[9]);
  store(at + 10u * p.wide, c[10]);
  store(at + 11u * p.wide, c[11]);
  store(at + 12u * p.wide, c[12]);
  store(at + 13u * p.wide, c[13]);
  store(at + 14u * p.wide, c[14]);
  store(at + 15u * p.wide, c[15]);
}
