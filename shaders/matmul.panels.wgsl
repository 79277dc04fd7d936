// Matrix product for CPU adapters whose subgroups have 8 lanes: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// matmul.pack has put both operands into panels (lib/panels); a workgroup of one subgroup makes a tile of 16 rows × 64 columns.
//   x: [rows / 16, K / 4, 16] texels   w: [n / 64, K / 4, 64] texels, the same for all formats. What lies past the end repeats the last row.
// Needs: subgroups of exactly 8 lanes, the extension subgroups; libs step, gelu, matmul, texels, operand.plain, panels.
// Limits: 8 invocations, 3 storage buffers, 2 storage textures. Reference: reference/matmul.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = group.y * ROWS;
  let column = group.x * COLUMNS + lane * 8u;
  var results = tile(row * p.quads, group.x * COLUMNS * p.quads, p.quads, lane);
  // One copy of the epilogue, in loops whose end is known at run time only: copies cost seconds of compilation.
  let end = select(0u, min(ROWS, rows - row), column < p.n);
  let width = min(8u, p.n - min(column, p.n));
  for (var i = 0u; i < end; i++) {
    for (var j = 0u; j < width; j += 2u) {
      store_pair(row + i, column + j, vec2<f32>(results[i][j], results[i][j + 1u]));
    }
  }
}
