/** A product scale · B · A that is added to some rows of a matrix. */
export interface LowRank {
  /** [rank, inner] */
  a: Float32Array;
  /** [rows, rank] */
  b: Float32Array;
  rank: number;
  scale: number;
  /** The matrix's row that B's first one is added to. */
  row: number;
}

/** Adds it, in float64, to the elements of a matrix [.., inner] from `first` on; one rounding to f32. */
export function addLowRank(values: Float32Array, first: number, inner: number, { a, b, rank, scale, row }: LowRank): void {
  const rows = b.length / rank;
  for (let i = 0; i < values.length; i++) {
    const own = Math.floor((first + i) / inner) - row;
    if (own < 0 || own >= rows) continue;
    const column = (first + i) % inner;
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += b[own * rank + r]! * a[r * inner + column]!;
    values[i]! += scale * sum;
  }
}
