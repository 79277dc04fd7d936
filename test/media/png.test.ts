import { constants, deflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import { inflate } from "../../src/media/deflate.ts";
import { chunk, expectBad, idat, ihdr, png } from "./helpers.ts";

const END = chunk("IEND");

describe("inflate", () => {
  const strategies = [constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE];
  const options = fc.record({ level: fc.integer({ min: 0, max: 9 }), strategy: fc.constantFrom(...strategies) });
  // Few different values and repeated stretches: short and long matches, near and far.
  const contents = fc
    .array(fc.tuple(fc.uint8Array({ maxLength: 40, max: 7 }), fc.integer({ min: 1, max: 60 })))
    .map((parts) => Uint8Array.from(parts.flatMap(([bytes, times]) => Array.from({ length: times }, () => [...bytes]).flat())));

  test("gives back what zlib compressed, stored, fixed and dynamic blocks", () => {
    fc.assert(
      fc.property(contents, options, (bytes, how) => {
        expect(Buffer.compare(inflate(deflateSync(bytes, how), bytes.length), bytes)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  const bytes = new Uint8Array(70_000).map((_, i) => i >> 6);
  const good = deflateSync(bytes);
  const last = good.slice();
  last[last.length - 1]! ^= 1;
  test.each<[string, Uint8Array, number, RegExp]>([
    ["a byte too many", good, 69_999, /more than 69999/],
    ["a byte too few", good, 70_001, /inflate to 70000 bytes, exactly 70001/],
    ["a stored block too long", deflateSync(bytes, { level: 0 }), 100, /more than 100/],
    ["a size that nothing so short can hold", good, 1e12, /cannot hold 1000000000000/],
    ["another checksum", last, 70_000, /Adler-32/],
    ["no checksum", good.subarray(0, -4), 70_000, /too early/],
    ["a copy from before the start", Uint8Array.of(0x78, 0x9c, 0x03, 0x02, 0, 0, 0, 0), 3, /before the first byte/],
  ])("refuses %s", (_, stream, size, message) => expect(() => inflate(stream, size)).toThrow(message));
});

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
  ])("%s: every filter is undone; the high byte of each colour stays", (_, colorType, depth, pixelBytes) => {
    const pixels = Uint8Array.from({ length: 10 * WIDTH * pixelBytes }, (_, i) => (i * i * 31 + i * 7) >> 3);
    const file = png(ihdr(WIDTH, 10, depth, colorType), idat(filtered(pixels, WIDTH * pixelBytes, pixelBytes)), END);
    const bytes = depth / 8;
    const want = Uint8Array.from({ length: 10 * WIDTH * 3 }, (_, i) => pixels[Math.floor(i / 3) * pixelBytes + (i % 3) * bytes]!);
    expect(Buffer.compare(decodeImage(file).data, want)).toBe(0);
  });

  test("a colour that the palette does not have is refused", () => {
    const palette = chunk("PLTE", [1, 2, 3, 4, 5, 6]);
    const of = (last: number) => png(ihdr(3, 1, 8, 3), palette, idat(Uint8Array.of(0, 0, 1, last)), END);
    expect([...decodeImage(of(1)).data]).toEqual([1, 2, 3, 4, 5, 6, 4, 5, 6]);
    expectBad(of(2), /a pixel of colour 2, its palette has 2/);
  });

  test("a small file cannot ask for much memory", () => {
    // 7000 x 7000 pixels of 16 bits and four channels are within the limits: 392 MB, of which the file has nothing.
    expectBad(png(ihdr(7000, 7000, 16, 6), idat(new Uint8Array(1000)), END), /compressed bytes cannot hold 392007000/);
  });
});
