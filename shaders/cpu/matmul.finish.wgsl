// What matmul.gemm_panels leaves to do: the epilogue (lib/matmul), a thread four columns of EACH rows. In that kernel it would be a loop over a
// private array for each tile, which took a third of the product's time on lavapipe.
//   x: the products, f32 [rows, n up to a multiple of 64]   y: f32 [rows, out_stride], columns column .. column + n
// Workgroup (block of 256 columns, block of EACH rows). Needs: EACH; libs step, gelu, matmul. Reference: reference/matmul.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = 4u * id.x;
  if (column >= p.n) {
    return;
  }
  let wide = (p.n + 63u) / 64u * 16u;
  let end = min(row_count(), (id.y + 1u) * EACH);
  for (var row = id.y * EACH; row < end; row++) {
    let products = x[row * wide + id.x];
    store_pair(row, column, products.xy);
    if (column + 2u < p.n) {
      store_pair(row, column + 2u, products.zw);
    }
  }
}
