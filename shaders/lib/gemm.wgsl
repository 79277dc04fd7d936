// What the GEMM kernels of GPUs share: the end of K, split-K, and the epilogue four columns at a time.
// Where there are fewer tiles than a GPU has room for, the grid's z splits K: each split leaves its f32 sums in `partials`
// [split, row, n up to a multiple of 4], and matmul.sum adds them up in their order and does the epilogue.
// Needs: EVEN (whether K is a multiple of 32); lib matmul.
@group(0) @binding(8) var<storage, read_write> partials: array<vec4<f32>>;

// Threads take shares, 16 elements along K. What they keep of a row, of x or w: its first share, or where K is no multiple of 32 its first vec4.
fn row_at(row: u32) -> u32 {
  return row * select(p.vec4s, p.vec4s / 4u, EVEN);
}

// Elements 4k .. 4k + 3 of the row of x that begins at vec4 `row`; zeros past its end.
fn x_vec4(row: u32, k: u32) -> vec4<f32> {
  return select(vec4<f32>(), x[row + min(k, p.vec4s - 1u)], k < p.vec4s);
}

// Share k of the row of x that is kept as `at`.
fn x_share(at: u32, k: u32) -> mat4x4<f32> {
  if (EVEN) {
    let i = 4u * (at + k);
    return mat4x4<f32>(x[i], x[i + 1u], x[i + 2u], x[i + 3u]);
  }
  return mat4x4<f32>(x_vec4(at, 4u * k), x_vec4(at, 4u * k + 1u), x_vec4(at, 4u * k + 2u), x_vec4(at, 4u * k + 3u));
}

// Slices of `size` elements along K for a split: (one past the last, how many).
fn slices_of(split: u32, splits: u32, size: u32) -> vec2<u32> {
  let all = (4u * p.vec4s + size - 1u) / size;
  let end = all * (split + 1u) / splits;
  return vec2<u32>(end, end - all * split / splits);
}

// n, but known at run time only: a loop that counts down from it stays one.
fn rounds(n: u32) -> u32 {
  return min(n, n * p.vec4s);
}

// Where a split's sums of columns v .. v + 3 are.
fn partial(row: u32, v: u32, split: u32) -> u32 {
  return (split * row_count() + row) * ((p.n + 3u) / 4u) + v / 4u;
}

// What becomes of columns v .. v + 3 (v a multiple of 4) of a row; past the ends nothing.
fn finish_vec4(row: u32, v: u32, products: vec4<f32>, split: u32, splits: u32) {
  if (row >= row_count() || v >= p.n) {
    return;
  }
  if (splits > 1u) {
    partials[partial(row, v, split)] = products;
    return;
  }
  store_vec4(row, v, products);
}

// Columns v .. v + 3 of a row, those below n. Neighbouring scalars: compilers make loads and stores of 16 bytes of them.
fn store_vec4(row: u32, v: u32, products: vec4<f32>) {
  if (is_on(SWIGLU) || v + 4u > p.n) {
    store_pair(row, v, products.xy);
    if (v + 2u < p.n) {
      store_pair(row, v + 2u, products.zw);
    }
    return;
  }
  let column = p.column + v;
  var r = products;
  if (is_on(BIAS)) {
    r += vec4<f32>(bias[column], bias[column + 1u], bias[column + 2u], bias[column + 3u]);
  }
  if (is_on(GELU)) {
    r = vec4<f32>(gelu(r.x), gelu(r.y), gelu(r.z), gelu(r.w));
  }
  if (is_on(SCALE)) {
    r *= vec4<f32>(scale[column], scale[column + 1u], scale[column + 2u], scale[column + 3u]);
  }
  let at = row * p.out_stride + column;
  if (is_on(RESIDUAL)) {
    r += vec4<f32>(y[at], y[at + 1u], y[at + 2u], y[at + 3u]);
  }
  y[at] = r.x;
  y[at + 1u] = r.y;
  y[at + 2u] = r.z;
  y[at + 3u] = r.w;
}
