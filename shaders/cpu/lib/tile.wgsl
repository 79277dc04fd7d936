// What the variants with tiles share. Needs: lib matmul.

fn dots(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
}

// Where the rows of w begin that columns v .. v + 3 take. Those past the end repeat the last one; they are not stored.
fn weight_rows(v: u32) -> vec4<u32> {
  let last = p.n - 1u;
  return p.vec4s * vec4<u32>(weight_row(min(v, last)), weight_row(min(v + 1u, last)), weight_row(min(v + 2u, last)), weight_row(min(v + 3u, last)));
}

// Columns v .. v + 3 of a row below row_count(), those below n; v is even. The loop's end is known at run time only: one copy
// of the epilogue, since compilers spend seconds on several.
fn store_vec4(row: u32, v: u32, products: vec4<f32>) {
  var pairs = array<vec2<f32>, 2>(products.xy, products.zw);
  let end = min(4u, max(v, p.n) - v);
  for (var j = 0u; j < end; j += 2u) {
    store_pair(row, v + j, pairs[j / 2u]);
  }
}
