import type { KernelSpec } from "../gpu/kernel.ts";
import { type Grid, type Program, rowsOf, type Step } from "../gpu/program.ts";
import type { Bindable, Rows } from "../tensor/tensor.ts";

/** A tile of a product that a workgroup makes. */
export interface Tile {
  columns: number;
  rows: number;
  consts: Readonly<Record<string, number>>;
}

/** A product's other sizes, and whether gate and up meet in its epilogue: then K stays whole. */
interface Product {
  n: number;
  k: number;
  gated: boolean;
}

const WORKGROUPS = 256; // two for each core of a large GPU: with fewer a part of it is idle
const LONG = 1024; // elements of K a split whose sums cost little to write and read once more
const SHORT = 256;

/** How a product is divided among workgroups. */
export interface Tiling {
  tile: Tile;
  /** Parts of K that workgroups of their own sum up. */
  splits: number;
}

/**
 * The tile for [rows, K] · [n, K]ᵀ, and into how many parts K is split: the largest tile that fills a GPU, if need be by splits that are
 * long; else the smallest.
 *
 * @param tiles the largest first
 */
export function tilingOf(tiles: readonly Tile[], rows: number, { n, k, gated }: Product): Tiling {
  let last: Tiling;
  for (const tile of tiles) {
    const splits = gated ? 1 : Math.ceil(WORKGROUPS / workgroups(tile, rows, n));
    last = { tile, splits: Math.min(splits, Math.max(1, Math.floor(k / SHORT))) };
    if (gated ? workgroups(tile, rows, n) >= WORKGROUPS : splits === 1 || k / splits >= LONG) break;
  }
  return last!;
}

const workgroups = (tile: Tile, rows: number, n: number): number => Math.ceil(n / tile.columns) * Math.ceil(rows / tile.rows);

/** Workgroups of a product [rows, n]: tiles across and down, and the splits of K. */
export const gridOf = ({ tile, splits }: Tiling, rows: number, n: number): Grid => [
  Math.ceil(n / tile.columns),
  Math.ceil(rows / tile.rows),
  splits,
];

const sumBytes = (splits: number, rows: number, n: number): number => splits * rows * Math.ceil(n / 4) * 16;

/** The most bytes of sums that splits leave, in any step of at most `maxRows` rows; 0 where nothing is ever split. */
export function partialBytes(tiles: readonly Tile[], maxRows: number, product: Product): number {
  let most = 0;
  const height = tiles.at(-1)!.rows;
  // Within a row of the smallest tiles nothing changes but the rows.
  for (let rows = Math.min(height, maxRows); ; rows = Math.min(rows + height, maxRows)) {
    const { splits } = tilingOf(tiles, rows, product);
    if (splits > 1) most = Math.max(most, sumBytes(splits, rows, product.n));
    if (rows === maxRows) return most;
  }
}

/** Adds up what splits leave, and does the epilogue. */
const SUM = { shader: "matmul.sum", libs: ["lib/step", "lib/gelu", "lib/matmul", "lib/gemm"], consts: { EVEN: true } } as const;

interface TiledProduct {
  kernel: Omit<KernelSpec, "bindings">;
  params: readonly number[];
  /** Bound at 2 to 7, and behind the splits' sums. */
  buffers: readonly Bindable[];
  last: readonly Bindable[];
  rows: Rows;
  shape: Product;
  tiles: readonly Tile[];
  /** Instead of what fits a step. */
  tiling?: Tiling | undefined;
}

/** Records a dispatch for every tile, of which a step takes one, and that of the splits' sums where there are any. */
export function recordTiles(program: Program, { kernel, params, buffers, last, rows, shape, tiles, tiling }: TiledProduct): void {
  const { n } = shape;
  const maxRows = program.maxRows(rows);
  const tilingIn = (step: Step): Tiling => tiling ?? tilingOf(tiles, rowsOf(rows, step), shape);
  program.arena.scope(() => {
    const bytes = tiling ? sumBytes(tiling.splits, maxRows, n) : partialBytes(tiles, maxRows, shape);
    const partials = program.arena.take(Math.max(16, bytes));
    for (const tile of tiles) {
      program.dispatch({
        kernel: { ...kernel, consts: { ...kernel.consts, ...tile.consts }, bindings: `uurrrrrww${"r".repeat(last.length)}` } as KernelSpec,
        params,
        buffers: [...buffers, partials, ...last],
        workgroups(step) {
          const chosen = tilingIn(step);
          return chosen.tile === tile ? gridOf(chosen, rowsOf(rows, step), n) : [0, 0, 0];
        },
      });
    }
    if (!bytes) return;
    program.dispatch({
      kernel: { ...SUM, bindings: "uurrrrrww" },
      params,
      buffers: [...buffers, partials],
      workgroups(step) {
        const { splits } = tilingIn(step);
        return splits > 1 ? [Math.ceil(n / 256), Math.ceil(rowsOf(rows, step) / splits), splits] : [0, 0, 0];
      },
    });
  });
}
