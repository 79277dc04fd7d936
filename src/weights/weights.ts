import type { Matrix, Vector } from "../tensor/tensor.ts";
import type { RowBlock } from "./rows.ts";

/** A stored tensor [rows, …] that becomes rows of a matrix. */
export interface MatrixRows {
  name: string;
  rows: number;
  /** Its shape in the file, where that is not [rows, inner]. */
  shape?: readonly number[];
  /** Where its rows go, where they do not go one after the other (InternLM2's wqkv). */
  blocks?: readonly RowBlock[];
}

/**
 * The tensors of a checkpoint by name, below a prefix (after candle's VarBuilder). The model's loaders declare with it each tensor that they
 * take, with its shape, and so read as the model's structure; nothing is waited for. What comes of a declaration is the subclass's business:
 * `GpuWeights` makes storage and fills it, `RecordingWeights` notes names and shapes.
 */
export abstract class Weights {
  /** The tensors whose names begin with `name.`. */
  abstract at(name: string | number): Weights;

  abstract has(name: string): boolean;

  /** A tensor's values as f32, on the CPU. */
  abstract values(name: string, shape: readonly number[]): Float32Array<ArrayBuffer>;

  /** Several vectors one after the other, as one f32 vector. */
  abstract vectors(tensors: readonly (readonly [name: string, shape: readonly number[]])[]): Vector;

  /** Several tensors [rows, inner] as one matrix, one below the other (q, k and v; gate and up). */
  abstract matrices(tensors: readonly MatrixRows[], inner: number): Matrix;

  vector(name: string, length: number): Vector {
    return this.vectors([[name, [length]]]);
  }

  matrix(name: string, out: number, inner: number, shape: readonly number[] = [out, inner]): Matrix {
    return this.matrices([{ name, rows: out, shape }], inner);
  }
}
