// Loads and stores of matmul.gemm_subgroup_matrix where a flag says that the layout is by columns (Tint of 2025, and the proposal of gpuweb).
// Needs: M, N, K; the extensions f16 and chromium_experimental_subgroup_matrix; matmul.gemm_subgroup_matrix.
alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

fn load_left(at: u32) -> Left {
  return subgroupMatrixLoad<Left>(&xs, at, false, PITCH);
}

fn load_right(at: u32) -> Right {
  return subgroupMatrixLoad<Right>(&ws, at, true, PITCH);
}

fn save_result(at: u32, result: Result) {
  subgroupMatrixStore(&results, at, result, false, 16u);
}
