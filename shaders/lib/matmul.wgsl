// What the matmul variants share: sizes, bindings, and what happens to a product before it is stored,
//   y = residual + scale * act(v + bias), each part behind a switch, or with SWIGLU (w = gate | up stacked, N even)
//   y = silu(x · gateᵀ) * (x · upᵀ), silu(g) = g / (1 + exp(-g)).
//   x: f32 [rows, K]   w: [N, K], the rows column.. of the whole matrix   y: f32 [rows, out_stride], columns column .. column + N
// The switches are bits of a uniform, not constants: compiling a kernel costs far more than a branch that all threads take alike.
// Needs: libs step, gelu, weight.* (w and its scales are bindings 3 and 4 there). bias and scale are dummies where switched off.
const BIAS = 1u;
const GELU = 2u;
const SCALE = 4u;
const RESIDUAL = 8u;
const SWIGLU = 16u;

struct Params {
  row_base: u32, // rows = row_base + row_unit * step.units
  row_unit: u32,
  vec4s: u32, // K / 4
  n: u32,
  column: u32,
  out_stride: u32,
  switches: u32,
  eps: f32, // of the norm in front, where there is one (lib prologue.norm)
  rounds: u32, // of a kernel that has a loop which must stay one: how often it runs; lib prologue.splits: room for splits
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> scale: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

fn row_count() -> u32 {
  return p.row_base + p.row_unit * step.units;
}

// What RMSNorm multiplies a row of x with, for the row's Σ x².
fn norm_factor(squares: f32) -> f32 {
  return 1.0 / sqrt(squares / f32(4u * p.vec4s) + p.eps);
}

fn is_on(switch_: u32) -> bool {
  return (p.switches & switch_) != 0u;
}

fn store(row: u32, column: u32, product: f32) {
  var v = product;
  if (is_on(BIAS)) {
    v += bias[column];
  }
  if (is_on(GELU)) {
    v = gelu(v);
  }
  if (is_on(SCALE)) {
    v *= scale[column];
  }
  let at = row * p.out_stride + column;
  if (is_on(RESIDUAL)) {
    v += y[at];
  }
  y[at] = v;
}

// The row of w that makes column v of the product. SWIGLU: gate and up alternate, so that a pair meets in one thread.
fn weight_row(v: u32) -> u32 {
  return select(v, (v >> 1u) + (v & 1u) * (p.n >> 1u), is_on(SWIGLU));
}

// Columns v (even, below n) and v + 1 (dropped where it is past the end) of a row below row_count().
fn store_pair(row: u32, v: u32, products: vec2<f32>) {
  if (is_on(SWIGLU)) {
    // exp above 88 overflows, and WGSL does not promise that infinity comes of it.
    y[row * p.out_stride + ((p.column + v) >> 1u)] = products.x / (1.0 + exp(min(-products.x, 80.0))) * products.y;
    return;
  }
  store(row, p.column + v, products.x);
  if (v + 1u < p.n) {
    store(row, p.column + v + 1u, products.y);
  }
}
