// What the kernels for few rows (matmul.gemv*, cpu/matmul.gemm_rows8) do with x before the product: nothing.
const NORM = false;

fn gain_at(k: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn gained(a: vec4<f32>, gain: vec4<f32>) -> vec4<f32> {
  return a;
}

fn prepare(index: u32, threads: u32) {}

fn x_at(i: u32) -> vec4<f32> {
  return x[i];
}
