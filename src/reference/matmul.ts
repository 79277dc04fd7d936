import { gelu } from "./gelu.ts";

/** What may follow a product: y = residual + scale · act(v + bias). */
export interface Epilogue {
  bias?: Float32Array | undefined; // [n]
  gelu?: boolean | undefined;
  scale?: Float32Array | undefined; // [n]
  residual?: Float32Array | undefined; // [m, n]
}

/**
 * The picked rows and columns of y = x · wᵀ with its epilogue: x [m, k], w [n, k] → [rows, columns].
 */
export function matmul(
  x: Float32Array,
  w: Float32Array,
  k: number,
  { bias, gelu: activate, scale, residual }: Epilogue,
  { rows, columns }: { rows: readonly number[]; columns: readonly number[] },
): Float64Array {
  const n = w.length / k;
  const y = new Float64Array(rows.length * columns.length);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      let v = 0;
      for (let i = 0, a = row * k, b = column * k; i < k; i++) v += x[a + i]! * w[b + i]!;
      if (bias) v += bias[column]!;
      if (activate) v = gelu(v);
      if (scale) v *= scale[column]!;
      if (residual) v += residual[row * n + column]!;
      y[at++] = v;
    }
  }
  return y;
}
