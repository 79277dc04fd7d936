import type { Grid } from "../gpu/program.ts";

/** A tile of a product that a workgroup makes. */
export interface Tile {
  columns: number;
  rows: number;
  consts: Readonly<Record<string, number>>;
}

const WORKGROUPS = 256; // two for each core of a large GPU: with fewer a part of it is idle
const LONG = 1024; // elements of K a split whose sums cost little to write and read once more
const SHORT = 256;

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
export function tilingOf(tiles: readonly Tile[], rows: number, n: number, k: number, gated: boolean): Tiling {
  let last: Tiling;
  for (const tile of tiles) {
    const splits = gated ? 1 : Math.ceil(WORKGROUPS / workgroups(tile, rows, n));
    last = { tile, splits: Math.min(splits, Math.max(1, Math.floor(k / SHORT))) };
    if (gated ? workgroups(tile, rows, n) >= WORKGROUPS : splits === 1 || k / splits >= LONG) break;
  }
  return last!;
}

const workgroups = (tile: Tile, rows: number, n: number): number => Math.ceil(n / tile.columns) * Math.ceil(rows / tile.rows);

export const gridOf = ({ tile, splits }: Tiling, rows: number, n: number): Grid => [
  Math.ceil(n / tile.columns),
  Math.ceil(rows / tile.rows),
  splits,
];

/** The most bytes of sums that splits leave, in any step of at most so many rows; 0 where nothing is ever split. */
export function partialBytes(tiles: readonly Tile[], maxRows: number, n: number, k: number, gated: boolean): number {
  let most = 0;
  const height = tiles.at(-1)!.rows;
  // Within a row of the smallest tiles nothing changes but the rows.
  for (let rows = Math.min(height, maxRows); ; rows = Math.min(rows + height, maxRows)) {
    const { splits } = tilingOf(tiles, rows, n, k, gated);
    if (splits > 1) most = Math.max(most, splits * rows * Math.ceil(n / 4) * 16);
    if (rows === maxRows) return most;
  }
}
