import { describe, expect, it } from "vitest";
import { gridOf, partialBytes, type Tile, tilingOf } from "../../src/ops/matmul-tiles.ts";

const TILES: readonly Tile[] = [
  { rows: 128, columns: 128, consts: {} },
  { rows: 128, columns: 64, consts: {} },
  { rows: 64, columns: 64, consts: {} },
];

/** [n, K] of InternVL2_5-4B and -1B: language, vision, projector. */
const PRODUCTS = [
  [2560, 2048],
  [2048, 2048],
  [2048, 11008],
  [1152, 896],
  [896, 896],
  [896, 4864],
  [3072, 1024],
  [1024, 1024],
  [4096, 1024],
  [1024, 4096],
  [2048, 4096],
] as const;
const GATED = [
  [22016, 2048],
  [9728, 896],
] as const;

const workgroups = (rows: number, n: number, k: number, gated = false) =>
  gridOf(tilingOf(TILES, rows, { n, k, gated }), rows, n).reduce((all, each) => all * each, 1);

describe("the tile and the splits of a product", () => {
  it.each([356, 1025, 3428, 4100])("fill a GPU of 128 cores twice at %d rows", (rows) => {
    for (const [n, k] of PRODUCTS) {
      const count = workgroups(rows, n, k);
      const { splits, tile } = tilingOf(TILES, rows, { n, k, gated: false });
      // … or K is split as finely as pays.
      expect(count >= 256 || (tile === TILES[2] && splits === Math.floor(k / 256)), `${rows} x ${n} x ${k}: ${count}`).toBe(true);
    }
    for (const [n, k] of GATED) expect(workgroups(rows, n, k, true)).toBeGreaterThanOrEqual(256);
  });

  it("large tiles go before small ones, long splits before small tiles, small tiles before short splits", () => {
    expect(tilingOf(TILES, 3428, { n: 2048, k: 2048, gated: false })).toEqual({ tile: TILES[0], splits: 1 });
    expect(tilingOf(TILES, 356, { n: 2048, k: 11008, gated: false })).toEqual({ tile: TILES[0], splits: 6 });
    expect(tilingOf(TILES, 1025, { n: 1024, k: 1024, gated: false })).toEqual({ tile: TILES[2], splits: 1 });
    expect(tilingOf(TILES, 9, { n: 64, k: 896, gated: false })).toEqual({ tile: TILES[2], splits: 3 });
    expect(tilingOf(TILES, 9, { n: 64, k: 64, gated: false })).toEqual({ tile: TILES[2], splits: 1 });
    expect(tilingOf(TILES, 9, { n: 64, k: 4096, gated: true }).splits).toBe(1); // gate and up meet in the epilogue
  });

  it("the room for splits' sums is enough for every number of rows, and bounded", () => {
    for (const [n, k] of PRODUCTS) {
      const bytes = partialBytes(TILES, 2048, { n, k, gated: false });
      expect(bytes).toBeLessThan(48 * 2 ** 20);
      for (let rows = 1; rows <= 2048; rows += 13) {
        const { splits } = tilingOf(TILES, rows, { n, k, gated: false });
        if (splits > 1) expect(splits * rows * Math.ceil(n / 4) * 16).toBeLessThanOrEqual(bytes);
      }
    }
    expect(partialBytes(TILES, 2048, { n: 22016, k: 2048, gated: true })).toBe(0);
    expect(partialBytes(TILES, 5, { n: 64, k: 64, gated: false })).toBe(0);
  });
});
