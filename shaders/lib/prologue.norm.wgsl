// RMSNorm in front of a product of few rows: W (g ∘ x / sqrt(mean(x²) + eps)) = W (g ∘ x) / sqrt(mean(x²) + eps). The root is one number a
// row, so it comes last, and Σ x² is added up along with the products.
const NORM = true;
@group(0) @binding(8) var<storage, read> g: array<vec4<f32>>; // [K]

fn gain_at(k: u32) -> vec4<f32> {
  return g[k];
}

fn gained(a: vec4<f32>, gain: vec4<f32>) -> vec4<f32> {
  return a * gain;
}

fn prepare(index: u32, threads: u32) {}

fn x_at(i: u32) -> vec4<f32> {
  return x[i];
}
