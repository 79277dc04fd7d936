import type { Matrix, Vector } from "../tensor/tensor.ts";
import { type MatrixRows, Weights } from "./weights.ts";

/** A tensor of a checkpoint, by name. */
export interface TensorShape {
  name: string;
  shape: number[];
}

/** Notes what a loader asks for, in its order, without a GPU and without a file. What it gives in return holds nothing. */
export class RecordingWeights extends Weights {
  /** Everything that has been asked for, below every prefix. */
  readonly seen: TensorShape[];
  readonly #has: (name: string) => boolean;
  readonly #prefix: string;

  /** @param has whether a tensor that a model may lack is there, by its full name */
  constructor(has: (name: string) => boolean, prefix = "", seen: TensorShape[] = []) {
    super();
    this.#has = has;
    this.#prefix = prefix;
    this.seen = seen;
  }

  at(name: string | number): RecordingWeights {
    return new RecordingWeights(this.#has, `${this.#prefix}${name}.`, this.seen);
  }

  has(name: string): boolean {
    return this.#has(this.#prefix + name);
  }

  #note(name: string, shape: readonly number[]): void {
    this.seen.push({ name: this.#prefix + name, shape: [...shape] });
  }

  values(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
    this.#note(name, shape);
    return new Float32Array(0);
  }

  vectors(tensors: readonly (readonly [name: string, shape: readonly number[]])[]): Vector {
    for (const [name, shape] of tensors) this.#note(name, shape);
    const label = tensors.map(([name]) => name).join("+");
    return {
      label,
      length: 0,
      get buffer(): never {
        throw new Error(`the vector ${label} was recorded, it has no storage`);
      },
    };
  }

  matrices(tensors: readonly MatrixRows[], inner: number): Matrix {
    for (const { name, rows, shape = [rows, inner] } of tensors) this.#note(name, shape);
    return { label: tensors.map(({ name }) => name).join("+"), shape: [0, inner], dtype: "f32", parts: [] };
  }
}
