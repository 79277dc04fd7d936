import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { PNG } from "pngjs";
import { expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import type { PngHeader } from "../../src/media/png-header.ts";
import { filteredLength, passesOf } from "../../src/media/png-structure.ts";
import { chunk, ihdr, png } from "./helpers.ts";

const KINDS = [
  [0, [1, 2, 4, 8]],
  [2, [8, 16]],
  [3, [1, 2, 4, 8]],
  [4, [8, 16]],
  [6, [8, 16]],
] as const;

const headers = fc
  .record({
    width: fc.integer({ min: 1, max: 33 }),
    height: fc.integer({ min: 1, max: 33 }),
    kind: fc.constantFrom(...KINDS.flatMap(([colorType, depths]) => depths.map((depth) => ({ colorType, depth })))),
    interlaced: fc.boolean(),
  })
  .map(({ kind, ...rest }): PngHeader => ({ ...rest, ...kind }));

test("any PNG is what pngjs makes of it", async () => {
  const palette = Array.from({ length: 768 }, (_, i) => (i * 53) & 255);
  await fc.assert(
    fc.asyncProperty(headers, fc.integer({ min: 1 }), fc.integer({ min: 1, max: 9 }), async (header, seed, parts) => {
      const raw = new Uint8Array(filteredLength(header));
      let state = seed;
      for (let i = 0; i < raw.length; i++) raw[i] = (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 24;
      let start = 0;
      for (const { rows, rowBytes } of passesOf(header)) for (let row = 0; row < rows; row++, start += 1 + rowBytes) raw[start]! %= 5; // filters
      const stream = deflateSync(raw);
      const size = Math.ceil(stream.length / parts);
      const idats = Array.from({ length: parts }, (_, i) => chunk("IDAT", stream.subarray(i * size, (i + 1) * size)));
      const { width, height, depth, colorType, interlaced } = header;
      const colours = colorType === 3 ? [chunk("PLTE", palette.slice(0, 3 << depth))] : [];
      const file = png(ihdr(width, height, depth, colorType, interlaced ? 1 : 0), ...colours, ...idats, chunk("IEND"));
      // 16 bits are compared by their high byte: pngjs rounds.
      const expected = PNG.sync.read(Buffer.from(file), { skipRescale: depth === 16 }) as unknown as { data: Uint8Array | Uint16Array };
      const want = Array.from(expected.data, (value) => (depth === 16 ? value >> 8 : value)).filter((_, i) => i % 4 < 3);
      expect([...(await decodeImage(file)).data]).toEqual(want);
    }),
    { numRuns: 300 },
  );
});
