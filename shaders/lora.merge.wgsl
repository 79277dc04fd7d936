// W += scale * B · A, in place, on a stretch of W [rows, K] that begins and ends anywhere: a checkpoint's matrix goes by in pieces.
//   to: f32, the vec4s FIRST .. FIRST + VEC4S of W, from vec4 AT on   a: f32 [rank, K]   b: f32 [.., rank], row 0 is W's row BASE
// Rows of W outside BASE .. END stay (an adapter of q alone hits a third of q, k and v). A thread makes four rows of four columns, so that
// each vec4 of a serves four rows. K is a multiple of 4. Reference: reference/lora.
struct Params {
  columns: u32, // K / 4
  rank: u32,
  scale: u32, // as bits
  first: u32, // FIRST
  vec4s: u32, // VEC4S
  at: u32, // AT
  base: u32, // BASE
  end: u32, // END
  row: u32, // the first row that a dispatch looks at, at least BASE
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> to: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.columns) {
    return;
  }
  let row = p.row + 4u * id.y;
  let last = p.end - 1u; // rows behind it are computed with its values, and not written
  var sum: array<vec4<f32>, 4>;
  let starts = (vec4<u32>(row, min(row + 1u, last), min(row + 2u, last), min(row + 3u, last)) - p.base) * p.rank;
  for (var r = 0u; r < p.rank; r++) {
    let x = a[r * p.columns + id.x];
    sum[0] += b[starts.x + r] * x;
    sum[1] += b[starts.y + r] * x;
    sum[2] += b[starts.z + r] * x;
    sum[3] += b[starts.w + r] * x;
  }
  for (var i = 0u; i < 4u; i++) {
    let element = (row + i) * p.columns + id.x;
    if (row + i < p.end && element >= p.first && element < p.first + p.vec4s) {
      to[p.at + element - p.first] += bitcast<f32>(p.scale) * sum[i];
    }
  }
}
