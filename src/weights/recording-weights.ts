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
  /** The names of the tensors of each matrix. */
  readonly matricesOf: string[][];
  readonly #has: (name: string) => boolean;
  readonly #prefix: string;

  /** @param has whether a tensor that a model may lack is there, by its full name */
  constructor(has: (name: string) => boolean, prefix = "", seen: TensorShape[] = [], matricesOf: string[][] = []) {
    super();
    this.#has = has;
    this.#prefix = prefix;
    this.seen = seen;
    this.matricesOf = matricesOf;
  }

  at(name: string | number): RecordingWeights {
    return new RecordingWeights(this.#has, `${this.#prefix}${name}.`, this.seen, this.matricesOf);
  }

  has(name: string): boolean {
    return this.#has(this.#prefix + name);
  }

  #note(name: string, shape: readonly number[]): string {
    const full = this.#prefix + name;
    this.seen.push({ name: full, shape: [...shape] });
    return full;
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
    this.matricesOf.push(tensors.map(({ name, rows, shape = [rows, inner] }) => this.#note(name, shape)));
    return { label: tensors.map(({ name }) => name).join("+"), shape: [0, inner], dtype: "f32", parts: [] };
  }
}
