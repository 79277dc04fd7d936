/** LayerNorm (with a bias) or RMSNorm (without) of one row x [width]; the variance is biased, eps inside the root. */
export function norm(x: Float32Array, weight: Float32Array, bias: Float32Array | undefined, eps: number): Float64Array {
  const width = x.length;
  let mean = 0;
  if (bias) {
    for (let i = 0; i < width; i++) mean += x[i]!;
    mean /= width;
  }
  let variance = 0;
  for (let i = 0; i < width; i++) variance += (x[i]! - mean) ** 2;
  const inverse = 1 / Math.sqrt(variance / width + eps);
  return Float64Array.from(x, (value, i) => (value - mean) * inverse * weight[i]! + (bias ? bias[i]! : 0));
}
