import { describe, expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import { chunk, expectBad, idat, ihdr, png } from "./helpers.ts";

const END = chunk("IEND");

describe("PNG rows", () => {
  const WIDTH = 37;
  const FILTERS = [0, 1, 2, 3, 4];
  /** What a decoder must undo: row i with filter i, as an encoder would write it. */
  function filtered(pixels: Uint8Array, rowBytes: number, pixelBytes: number): Uint8Array {
    const rows = pixels.length / rowBytes;
    const out = new Uint8Array(rows * (1 + rowBytes));
    const at = (row: number, i: number) => (row < 0 || i < 0 ? 0 : pixels[row * rowBytes + i]!);
    for (let row = 0; row < rows; row++) {
      const type = FILTERS[row % 5]!;
      out[row * (1 + rowBytes)] = type;
      for (let i = 0; i < rowBytes; i++) {
        const [a, b, c] = [at(row, i - pixelBytes), at(row - 1, i), at(row - 1, i - pixelBytes)];
        const nearest = [a, b, c].reduce((best, each) => (Math.abs(a + b - c - each) < Math.abs(a + b - c - best) ? each : best));
        const prediction = [0, a, b, (a + b) >> 1, nearest][type]!;
        out[row * (1 + rowBytes) + 1 + i] = at(row, i) - prediction;
      }
    }
    return out;
  }

  test.each([
    ["RGB", 2, 8, 3],
    ["RGB, 16 bits", 2, 16, 6],
    ["RGB + alpha", 6, 8, 4],
    ["RGB + alpha, 16 bits", 6, 16, 8],
  ])("%s: every filter is undone; the high byte of each colour stays", async (_, colorType, depth, pixelBytes) => {
    const pixels = Uint8Array.from({ length: 10 * WIDTH * pixelBytes }, (_, i) => (i * i * 31 + i * 7) >> 3);
    const file = png(ihdr(WIDTH, 10, depth, colorType), idat(filtered(pixels, WIDTH * pixelBytes, pixelBytes)), END);
    const bytes = depth / 8;
    const want = Uint8Array.from({ length: 10 * WIDTH * 3 }, (_, i) => pixels[Math.floor(i / 3) * pixelBytes + (i % 3) * bytes]!);
    expect(Buffer.compare((await decodeImage(file)).data, want)).toBe(0);
  });

  test("colours that the palette does not have are greys, as Pillow has them", async () => {
    const palette = chunk("PLTE", [1, 2, 3, 4, 5, 6]);
    const file = png(ihdr(3, 1, 8, 3), palette, idat(Uint8Array.of(0, 0, 1, 2)), END);
    expect([...(await decodeImage(file)).data]).toEqual([1, 2, 3, 4, 5, 6, 2, 2, 2]);
  });

  test("a small file cannot ask for much memory", async () => {
    // 7000 x 7000 pixels of 16 bits and four channels are within the limits: 392 MB, of which the file has nothing.
    await expectBad(png(ihdr(7000, 7000, 16, 6), idat(new Uint8Array(1000)), END), /compressed bytes cannot hold the 392007000/);
  });
});
