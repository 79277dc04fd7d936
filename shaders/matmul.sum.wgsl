// The end of a product whose K was split (lib/gemm): y[m, n] = epilogue(Σ_splits partials[split, m, n]), added up in the order of the splits.
// Workgroup (block of 64 vec4s of columns, block of rows, split): a thread makes four columns of the row splits · block + split, so that
// all are made whatever the number of splits.
// Needs: EVEN (lib/gemm); libs matmul, gemm. Limits: 64 invocations, 6 storage bindings. Reference: reference/matmul.
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(global_invocation_id) id: vec3<u32>,
) {
  let row = group.y * groups.z + group.z;
  if (row >= row_count() || 4u * id.x >= p.n) {
    return;
  }
  var sum = vec4<f32>();
  for (var left = groups.z; left > 0u; left--) {
    sum += partials[partial(row, 4u * id.x, groups.z - left)];
  }
  store_vec4(row, 4u * id.x, sum);
}
