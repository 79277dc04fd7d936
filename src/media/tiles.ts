import { EngineError } from "../errors.ts";
import type { RgbImage } from "./image.ts";
import { resize } from "./resize.ts";

/** How a picture is cut into tiles. */
export interface TileOptions {
  /** Most tiles without the thumbnail; 12 by default. */
  maxTiles?: number;
  /** Fewest tiles; 1 by default. */
  minTiles?: number;
  /** Side of a tile in pixels; 448 by default. */
  tileSize?: number;
  /** Append the whole picture as a last tile when there is more than one; true by default. */
  thumbnail?: boolean;
}

/** A picture cut into tiles. */
export interface Tiles {
  grid: [columns: number, rows: number];
  count: number; // columns × rows, plus 1 with a thumbnail
  tiles: Uint8Array; // [count, tileSize, tileSize, 3], row by row, thumbnail last
}

/**
 * The grid whose shape is nearest to the picture's (upstream `find_closest_aspect_ratio`).
 *
 * Among grids of equal difference a larger one wins while the picture has more than half the grid's pixels: a square
 * picture goes from 1 x 1 to 2 x 2 to 3 x 3 as it grows. The comparison is exact in float64, as upstream's in Python.
 */
export function chooseGrid(
  width: number,
  height: number,
  { minTiles = 1, maxTiles = 12, tileSize = 448 }: TileOptions = {},
): [columns: number, rows: number] {
  for (const [name, value] of Object.entries({ width, height, minTiles, maxTiles, tileSize })) {
    if (!Number.isInteger(value) || value < 1) throw new EngineError("bad-input", `${name} is ${value}, it must be a positive integer`);
  }
  if (minTiles > maxTiles) throw new EngineError("bad-input", `minTiles is ${minTiles}, it must not exceed maxTiles, ${maxTiles}`);
  const aspect = width / height;
  let best: [number, number] = [1, 1];
  let bestDifference = Number.POSITIVE_INFINITY;
  for (let area = minTiles; area <= maxTiles; area++) {
    for (let columns = 1; columns <= area; columns++) {
      if (area % columns !== 0) continue;
      const rows = area / columns;
      const difference = Math.abs(aspect - columns / rows);
      if (difference < bestDifference) {
        bestDifference = difference;
        best = [columns, rows];
      } else if (difference === bestDifference && width * height > 0.5 * tileSize * tileSize * columns * rows) {
        best = [columns, rows];
      }
    }
  }
  return best;
}

/** Cuts a picture into the model's tiles (upstream `dynamic_preprocess`): stretch to the grid, crop row by row, append the thumbnail. */
export function tileImage(image: RgbImage, options: TileOptions = {}): Tiles {
  const { tileSize = 448, thumbnail = true } = options;
  const grid = chooseGrid(image.width, image.height, options);
  const [columns, rows] = grid;
  const cells = columns * rows;
  const count = cells + (thumbnail && cells !== 1 ? 1 : 0);
  const tileBytes = tileSize * tileSize * 3;
  const tiles = new Uint8Array(count * tileBytes);

  const stretched = resize(image, tileSize * columns, tileSize * rows);
  const rowBytes = tileSize * 3;
  for (let cell = 0; cell < cells; cell++) {
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    for (let y = 0; y < tileSize; y++) {
      const from = ((row * tileSize + y) * columns + column) * rowBytes;
      tiles.set(stretched.data.subarray(from, from + rowBytes), cell * tileBytes + y * rowBytes);
    }
  }
  // Of the original picture, not of the stretched one: exactly one resampling lies between file and model.
  if (count > cells) tiles.set(resize(image, tileSize, tileSize).data, cells * tileBytes);
  return { grid, count, tiles };
}
