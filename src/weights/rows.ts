import type { Matrix, MatrixPart } from "../tensor/tensor.ts";
import type { Chunk } from "./tensor-source.ts";

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

/** Where a chunk's bytes go: the tensor's bytes [from, to) to `at` bytes behind the start of a part of the matrix. A row has `rowBytes` in both. */
export function* destinations(
  chunk: Chunk,
  { base, blocks }: RowsSource,
  matrix: Matrix,
  rowBytes: number,
): Generator<{ part: MatrixPart; from: number; to: number; at: number }> {
  const { offset, length } = chunk;
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
