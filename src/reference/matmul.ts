import { gelu } from "./gelu.ts";
import { swiglu } from "./swiglu.ts";

type Floats = Float32Array | Float64Array;

/** What may follow a product: y = residual + scale · act(v + bias). */
export interface Epilogue {
  bias?: Floats | undefined; // [n]
  gelu?: boolean | undefined;
  scale?: Floats | undefined; // [n]
  residual?: Floats | undefined; // [m, n]
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
  x: Floats,
  w: Floats,
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
export function gatedMatmul(x: Floats, w: Floats, k: number, picked: Picked): Float64Array {
  const half = w.length / 2;
  const gate = matmul(x, w.subarray(0, half), k, {}, picked);
  const up = matmul(x, w.subarray(half), k, {}, picked);
  return gate.map((g, i) => swiglu(g, up[i]!));
}

const squares = (values: Floats): Float64Array => Float64Array.from(values, (value) => value * value);

/**
 * The energy of each picked element of `matmul`: Σ of the squares of the terms that it is the sum of, which is what its square would be on
 * average if their signs were drawn. It stays where the terms cancel. Not defined after GELU: what comes out of it is not a sum.
 */
export function matmulEnergy(
  x: Floats,
  w: Floats,
  k: number,
  { bias, scale, residual }: Omit<Epilogue, "gelu">,
  picked: Picked,
): Float64Array {
  const epilogue = { bias: bias && squares(bias), scale: scale && squares(scale), residual: residual && squares(residual) };
  return matmul(squares(x), squares(w), k, epilogue, picked);
}

/**
 * The energy of each picked element of `gatedMatmul`, y = silu(g) · u: what energies of g and u make of it to first order,
 * silu'(g)² · u² · energy(g) + silu(g)² · energy(u).
 */
export function gatedEnergy(x: Floats, w: Floats, k: number, picked: Picked): Float64Array {
  const half = w.length / 2;
  const [gates, ups] = [w.subarray(0, half), w.subarray(half)];
  const gate = matmul(x, gates, k, {}, picked);
  const up = matmul(x, ups, k, {}, picked);
  const [ofGate, ofUp] = [matmulEnergy(x, gates, k, {}, picked), matmulEnergy(x, ups, k, {}, picked)];
  return gate.map((g, i) => {
    const sigmoid = 1 / (1 + Math.exp(-g));
    const slope = sigmoid * (1 + g * (1 - sigmoid)); // silu'(g)
    return (slope * up[i]!) ** 2 * ofGate[i]! + (sigmoid * g) ** 2 * ofUp[i]!;
  });
}
