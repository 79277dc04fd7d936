// What the matmul variants share: sizes, bindings, and what happens to a product before it is stored,
//   y = residual + scale * act(v + bias), each part behind a switch.
//   x: f32 [rows, K]   w: [N, K], the rows column.. of the whole matrix   y: f32 [rows, out_stride], columns column .. column + N
// Needs: BIAS, GELU, SCALE, RESIDUAL; libs step, gelu, weight.* (w and its scales are bindings 3 and 4 there). bias and scale are dummies where switched off.
struct Params {
  row_base: u32, // rows = row_base + row_unit * step.units
  row_unit: u32,
  quads: u32, // K / 4
  n: u32,
  column: u32,
  out_stride: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> scale: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

fn row_count() -> u32 {
  return p.row_base + p.row_unit * step.units;
}

fn store(row: u32, column: u32, product: f32) {
  var v = product;
  if (BIAS) {
    v += bias[column];
  }
  if (GELU) {
    v = gelu(v);
  }
  if (SCALE) {
    v *= scale[column];
  }
  let at = row * p.out_stride + column;
  if (RESIDUAL) {
    v += y[at];
  }
  y[at] = v;
}
