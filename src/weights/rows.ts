import type { Matrix, MatrixPart } from "../tensor/tensor.ts";
import type { Stretch } from "./origin.ts";

/** A run of consecutive rows of a stored tensor and where they go in the matrix on the GPU. */
export interface RowBlock {
  from: number;
  to: number;
  rows: number;
}

/** A stored tensor whose rows become rows of a matrix, counted from `base` on. */
export interface RowsSource {
  name: string;
  base: number;
  blocks: readonly RowBlock[];
}

/** The bytes [from, to) of a tensor, which go to `at` bytes behind the start of a part of a matrix. */
interface Placement {
  part: MatrixPart;
  from: number;
  to: number;
  at: number;
}

/** Where the bytes of a stretch go, where rows have so many bytes in the tensor and in the matrix. */
export function* placements(stretch: Stretch, { base, blocks }: RowsSource, matrix: Matrix, rowBytes: number): Generator<Placement> {
  const { offset, length } = stretch;
  for (const block of blocks) {
    // Where this block's rows begin in the matrix, less where they begin in the tensor.
    const shift = (base + block.to - block.from) * rowBytes;
    for (const part of matrix.parts) {
      const start = part.rowStart * rowBytes;
      const from = Math.max(offset, block.from * rowBytes, start - shift);
      const to = Math.min(offset + length, (block.from + block.rows) * rowBytes, start + part.rows * rowBytes - shift);
      if (from < to) yield { part, from, to, at: from + shift - start };
    }
  }
}
