// Rows of a matrix, in panels for matmul.gemm_panels: out[panel, k, i] = vec4 k of the row of panel `panel` that stands at i.
//   source: [rows, K], any format (lib weight.*)   out: [panels, K / 4, HEIGHT] of vec4 f32
//   At i stands the row (i % 8) · LANE + (i / 8) · NEXT of a panel. Rows past the end repeat the last one: nobody stores what comes of them.
// Workgroup (stretch of 64 vec4s, i / 8, panel) of one subgroup: 8 rows. Needs: lib step and a weight.* lib (source is binding 3 there).
// Limits: 8 invocations, 3 storage bindings. Reference: none of its own; it is part of the products that are tested.
struct Params {
  row_base: u32, // rows = row_base + row_unit * step.units
  row_unit: u32,
  vec4s: u32, // K / 4
  first: u32, // the row of the source that the first panel begins with
  height: u32, // HEIGHT
  lane: u32, // LANE
  next: u32, // NEXT
  half: u32, // half of the rows where gate and up alternate in the panels, as lib/matmul's weight_row says; else 0
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

const STRETCH = 64u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let rows = p.row_base + p.row_unit * step.units;
  let v = min(p.first + group.z * p.height + lane * p.lane + group.y * p.next, rows - 1u);
  let row = select(v, (v >> 1u) + (v & 1u) * p.half, p.half > 0u);
  let to = group.z * p.vec4s * p.height + group.y * 8u + lane;
  let end = min((group.x + 1u) * STRETCH, p.vec4s);
  for (var k = group.x * STRETCH; k < end; k++) {
    out[to + k * p.height] = weight(row * p.vec4s + k);
  }
}
