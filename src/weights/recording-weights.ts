import type { Matrix, Vector } from "../tensor/tensor.ts";
import type { RowBlock } from "./rows.ts";
import { type MatrixRows, Weights } from "./weights.ts";

/** A tensor of a checkpoint, by name. */
export interface TensorShape {
  name: string;
  shape: number[];
}

/** A tensor of a declaration: which of its rows become which of the whole's. */
interface Placed extends TensorShape {
  blocks: readonly RowBlock[];
}

/** What was asked for at once: tensors that lie one below the other in a matrix or a vector. */
interface Declared {
  matrix: boolean;
  tensors: Placed[];
}

/** Notes what a loader asks for, in its order, without a GPU and without a file. What it gives in return holds nothing. */
export class RecordingWeights extends Weights {
  /** Everything that has been asked for, below every prefix. */
  readonly declared: Declared[];
  readonly #has: (name: string) => boolean;
  readonly #prefix: string;

  /** @param has whether a tensor that a model may lack is there, by its full name */
  constructor(has: (name: string) => boolean, prefix = "", declared: Declared[] = []) {
    super();
    this.#has = has;
    this.#prefix = prefix;
    this.declared = declared;
  }

  /** Every tensor, in the order of the declarations. */
  get seen(): TensorShape[] {
    return this.declared.flatMap(({ tensors }) => tensors.map(({ name, shape }) => ({ name, shape })));
  }

  at(name: string | number): RecordingWeights {
    return new RecordingWeights(this.#has, `${this.#prefix}${name}.`, this.declared);
  }

  has(name: string): boolean {
    return this.#has(this.#prefix + name);
  }

  #note(matrix: boolean, tensors: readonly { name: string; shape: readonly number[]; blocks?: readonly RowBlock[] }[]): void {
    let base = 0;
    const placed = tensors.map(({ name, shape, blocks = [{ from: 0, to: 0, rows: shape[0]! }] }): Placed => {
      const own = blocks.map((block) => ({ ...block, to: base + block.to }));
      base += shape[0]!;
      return { name: this.#prefix + name, shape: [...shape], blocks: own };
    });
    this.declared.push({ matrix, tensors: placed });
  }

  values(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
    this.#note(false, [{ name, shape }]);
    return new Float32Array(0);
  }

  vectors(tensors: readonly (readonly [name: string, shape: readonly number[]])[]): Vector {
    const noted = tensors.map(([name, shape]) => ({ name, shape }));
    this.#note(false, noted);
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
    const noted = tensors.map(({ rows, shape = [rows, inner], ...rest }) => ({ ...rest, shape }));
    this.#note(true, noted);
    return { label: tensors.map(({ name }) => name).join("+"), shape: [0, inner], dtype: "f32", parts: [] };
  }
}
