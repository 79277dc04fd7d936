import { gelu } from "./gelu.ts";
import { swiglu } from "./swiglu.ts";

/** What may follow a product: y = residual + scale · act(v + bias). */
export interface Epilogue {
  bias?: Float32Array | undefined; // [n]
  gelu?: boolean | undefined;
  scale?: Float32Array | undefined; // [n]
  residual?: Float32Array | undefined; // [m, n]
}

/** Rows and columns of an output; every pair of them is an element. */
interface Picked {
  rows: readonly number[];
  columns: readonly number[];
}

/**
 * The picked rows and columns of y = x · wᵀ with its epilogue: x [m, k], w [n, k] → [rows, columns].
 */
export function matmul(
  x: Float32Array | Float64Array,
  w: Float32Array,
  k: number,
  { bias, gelu: activate, scale, residual }: Epilogue,
  { rows, columns }: Picked,
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

/** The picked elements of y [m, n / 2] = silu(x · gateᵀ) · (x · upᵀ), w = gate | up stacked [n, k]. */
export function gatedMatmul(x: Float32Array | Float64Array, w: Float32Array, k: number, picked: Picked): Float64Array {
  const half = w.length / 2;
  const gate = matmul(x, w.subarray(0, half), k, {}, picked);
  const up = matmul(x, w.subarray(half), k, {}, picked);
  return gate.map((g, i) => swiglu(g, up[i]!));
}
