import { describe, expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import { readDimensions } from "../../src/media/dimensions.ts";
import type { RgbImage } from "../../src/media/image.ts";
import { normalizeTiles } from "../../src/media/normalize.ts";
import { chooseGrid, tileImage } from "../../src/media/tiles.ts";
import { fixture, goldenCases, readFloats, sha256 } from "./helpers.ts";

/** What upstream's dynamic_preprocess and build_transform made of 21 pictures. */
const samples = readFloats(fixture("samples.safetensors"));

/** JPEGs of a million pixels and more: libjpeg-turbo's pixels are Pillow's. */
const EXACT = new Set(["photo2.jpg"]);

describe.each(goldenCases)("$file", async (golden) => {
  const bytes = fixture(golden.file);
  // Pillow's pixels: our own decoder for lossless files, the recorded ones for JPEGs that have them.
  const pillow = golden.format === "PNG" ? golden.file : golden.decoded_png;
  const image: RgbImage = await decodeImage(pillow ? fixture(pillow) : bytes);

  test("declared size", async () => {
    expect(await readDimensions(bytes)).toEqual({ format: golden.format.toLowerCase(), width: golden.width, height: golden.height });
  });

  test("decoded pixels", () => {
    expect([image.width, image.height]).toEqual([golden.width, golden.height]);
    expect(sha256(image.data) === golden.decoded_sha256).toBe(pillow !== undefined || EXACT.has(golden.file)); // other JPEGs without recorded pixels: our own decode is near, not equal
  });

  test.each(golden.runs)("max_num $max_num: $grid_columns x $grid_rows", async (run) => {
    expect(chooseGrid(golden.width, golden.height, { maxTiles: run.max_num })).toEqual([run.grid_columns, run.grid_rows]);
    const { grid, count, tiles } = tileImage(image, { maxTiles: run.max_num });
    expect({ grid, count, thumbnail: count > grid[0] * grid[1] }).toEqual({
      grid: [run.grid_columns, run.grid_rows],
      count: run.tiles,
      thumbnail: run.thumbnail,
    });
    const values = normalizeTiles(tiles, count, 448);
    const expected = samples.get(`${golden.file}.max${run.max_num}`)!;
    expect(expected.length).toBe(4096);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (!pillow && !EXACT.has(golden.file)) {
      // Only the JPEG decoder's rounding lies between: 1 level is 0.0175, and jpeg.test.ts measures it. It rounds up more often than
      // libjpeg: the means measured here are up to 1.3e-3 (0.07 levels) above Pillow's.
      expect(Math.abs(mean - run.pixel_values_mean)).toBeLessThan(2e-3);
      for (let i = 0; i < expected.length; i++) expect(Math.abs(values[i * run.sample_stride]! - expected[i]!)).toBeLessThan(0.055);
      return;
    }
    const tileBytes = 448 * 448 * 3;
    expect(run.tile_sha256.map((_, i) => sha256(tiles.subarray(i * tileBytes, (i + 1) * tileBytes)).slice(0, 16))).toEqual(run.tile_sha256);
    expect(sha256(tiles)).toBe(run.tiles_sha256);
    expect(mean).toBeCloseTo(run.pixel_values_mean, 6);
    expect(expected.map((_, i) => values[i * run.sample_stride]!)).toEqual(expected);
    if (run.tiles_png) expect(sha256((await decodeImage(fixture(run.tiles_png))).data)).toBe(run.tiles_sha256);
  });
});
