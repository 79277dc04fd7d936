import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { decodeImage } from "../../src/media/decode.ts";
import { rgbFromPixels } from "../../src/media/pixels.ts";
import { resize } from "../../src/media/resize.ts";
import { chooseGrid, tileImage } from "../../src/media/tiles.ts";
import { sampleFrameIndices } from "../../src/media/video.ts";
import { isQuick } from "../shared/quick.ts";
import { attempt, chunk, expectBad, extra, fixture, idat, ihdr, join, png, rawRows, SIGNATURE } from "./helpers.ts";

const END = chunk("IEND");
const good = png(ihdr(4, 3), idat(rawRows(4, 3)), END);
const jpeg = fixture("s11-progressive.jpg");
const baseline = extra("j-422.jpg");

/** The byte offset of a JPEG's frame header (SOF0 or SOF2). */
function frameOf(bytes: Uint8Array): number {
  for (let at = 2; at < bytes.length; ) {
    if (bytes[at + 1] === 0xc0 || bytes[at + 1] === 0xc2) return at;
    at += 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
  }
  throw new Error("the test's JPEG has no frame");
}

function withSize(bytes: Uint8Array, width: number, height: number): Uint8Array {
  const copy = bytes.slice();
  const at = frameOf(copy);
  copy.set([height >> 8, height & 255, width >> 8, width & 255], at + 5);
  return copy;
}

describe("damaged PNGs are refused", () => {
  test("the file that the others are made of is good", async () => {
    expect(await decodeImage(good)).toMatchObject({ width: 4, height: 3 });
  });

  const flipped = good.slice();
  flipped[45]! ^= 1;
  const wrongCrc = chunk("tEXt", [1, 2]);
  wrongCrc[wrongCrc.length - 1]! ^= 1;
  test.each<[string, Uint8Array, RegExp]>([
    [
      "68 bytes that declare 2 billion pixels",
      png(ihdr(0x7fffffff, 0x7fffffff), chunk("IDAT", [0x78, 0x9c, 3, 0, 0, 0, 0, 1]), END),
      /at most 65535 a side/,
    ],
    ["too many pixels", png(ihdr(20000, 10001), idat(rawRows(4, 3)), END), /at most 200000000/],
    ["zero wide", png(ihdr(0, 3), idat(rawRows(4, 3)), END), /0 x 3/],
    ["zero high", png(ihdr(4, 0), idat(rawRows(4, 3)), END), /4 x 0/],
    ["no IDAT", png(ihdr(4, 3), END), /no IDAT/],
    ["too few rows", png(ihdr(4, 3), idat(rawRows(4, 2)), END), /inflate to 26 bytes, exactly 39/],
    ["a flipped bit in the pixels", flipped, /compressed pixels are damaged/],
    ["a wrong CRC before the pixels", png(ihdr(4, 3), wrongCrc, idat(rawRows(4, 3)), END), /CRC/],
    ["a damaged signature", join([0x89, 0x50, 0x4e, 0x47, 0x0a, 0x0a, 0x1a, 0x0a], good.subarray(8)), /signature/],
    ["colour type 5", png(ihdr(4, 3, 8, 5), idat(rawRows(4, 3)), END), /colour type 5/],
    ["3 bits a sample", png(ihdr(4, 3, 3, 0), idat(rawRows(4, 3)), END), /3 bits/],
    ["a palette picture without a palette", png(ihdr(4, 3, 8, 3), idat(rawRows(4, 3)), END), /palette/],
    ["a zlib stream that is none", png(ihdr(4, 3), chunk("IDAT", [1, 2, 3, 4, 5, 6, 7, 8]), END), /compressed pixels/],
    ["a filter that does not exist", png(ihdr(4, 3), idat(rawRows(4, 3).fill(9)), END), /filter/i],
    ["the signature alone", Uint8Array.from(SIGNATURE), /8 bytes/],
  ])("%s", (_, bytes, message) => expectBad(bytes, message));

  test("at every length", async () => {
    const file = extra("p-interlaced.png");
    const pixelsEnd = file.length - 12 - 8; // behind them only checksums and IEND
    for (let length = 0; length < pixelsEnd; length += isQuick ? 61 : 7)
      expect(await attempt(file.subarray(0, length))).toBeInstanceOf(EngineError);
  });
});

describe("damaged JPEGs are refused", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["65535 x 65535", withSize(jpeg, 65535, 65535), /at most 200000000 are/],
    ["zero wide", withSize(jpeg, 0, 10), /0 x 10/],
    ["19999 x 19999", withSize(baseline, 19999, 19999), /at most 200000000/],
    ["SOI alone", Uint8Array.of(0xff, 0xd8, 0xff), /JPEG/],
    ["cut in its middle", jpeg.subarray(0, jpeg.length >> 1), /cut off/],
  ])("%s", (_, bytes, message) => expectBad(bytes, message));

  test("at every length", async () => {
    for (const file of [jpeg, baseline]) {
      const step = Math.ceil(file.length / 150);
      for (let length = 0; length < file.length - 4; length += step)
        expect(await attempt(file.subarray(0, length))).toBeInstanceOf(EngineError);
    }
  });
});

describe("other files", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["empty", new Uint8Array(0), /empty/],
    ["GIF", Buffer.from("GIF89a\x01\0\x01\0"), /GIF/],
    ["WebP", Buffer.from("RIFF\0\0\0\0WEBPVP8 "), /a WebP file/],
    ["AVIF", Buffer.from("\0\0\0\x1cftypavif\0\0"), /is an AVIF file/],
    ["HEIC", Buffer.from("\0\0\0\x18ftypheic\0\0"), /is a HEIC file/],
    ["MP4", Buffer.from("\0\0\0\x18ftypisom\0\0"), /is an MP4 video/],
    ["WebM", Buffer.from("\x1a\x45\xdf\xa3\0\0", "latin1"), /is a WebM or Matroska video/],
    ["PDF", Buffer.from("%PDF-1.7"), /is a PDF file/],
    ["HTML", Buffer.from("<!doctype html><html>"), /is an HTML page/],
    ["LFS", Buffer.from("version https://git-lfs.github.com/spec/v1"), /is a Git LFS pointer/],
    ["SVG", Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>"), /SVG/],
    ["text", Buffer.from("hello"), /not a format known/],
  ])("%s", (_, bytes, message) => expectBad(new Uint8Array(bytes), message));

  test("limits can be set", async () => {
    await expectBad(good, /at most 11 are allowed/, { maxPixels: 11 });
    await expectBad(good, /at most 3 a side/, { maxSide: 3 });
  });
});

test("whatever happens to a file's bytes: a picture of the declared size, or bad-image", { timeout: 120_000 }, async () => {
  const files = [good, baseline, extra("p-interlaced-palette4.png"), extra("j-grey-restart.jpg"), extra("j-progressive.jpg")];
  const change = fc.record({ at: fc.nat(), value: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat()),
      async (file, changes, cut) => {
        const bytes = file.slice(0, cut === null ? file.length : cut % file.length);
        for (const { at, value } of changes) if (bytes.length) bytes[at % bytes.length] = value;
        const result = await attempt(bytes, { maxPixels: 1_000_000 });
        if (!(result instanceof EngineError)) expect(result.data.length).toBe(result.width * result.height * 3);
      },
    ),
    { numRuns: 1500 },
  );
});

describe("arguments", async () => {
  const image = await decodeImage(good);
  test.each<[string, () => unknown]>([
    ["resize to nothing", () => resize(image, 0, 4)],
    ["resize of wrong data", () => resize({ ...image, data: new Uint8Array(5) }, 2, 2)],
    ["a grid of no tiles", () => chooseGrid(4, 3, { maxTiles: 0 })],
    ["tiles of no size", () => tileImage(image, { tileSize: 0.5 })],
    ["raw pixels of a wrong length", () => rgbFromPixels({ data: new Uint8Array(7), width: 2, height: 2 })],
    ["five channels", () => rgbFromPixels({ data: new Uint8Array(20), width: 2, height: 2, channels: 5 })],
    ["no frames", () => sampleFrameIndices(0, 4)],
  ])("%s is bad-input", (_, call) => {
    expect(call).toThrow(EngineError);
    expect(call).toThrow(expect.objectContaining({ code: "bad-input" }));
  });

  test("raw pixels of 1, 2, 3 and 4 channels give the same picture", () => {
    const grey = [10, 200, 30, 40];
    const rgb = new Uint8Array(grey.flatMap((v) => [v, v, v]));
    for (const channels of [1, 2, 3, 4]) {
      const data = Uint8Array.from(grey.flatMap((v) => (channels < 3 ? [v, 7].slice(0, channels) : [v, v, v, 7].slice(0, channels))));
      expect(rgbFromPixels({ data, width: 2, height: 2 }).data).toEqual(rgb);
      expect(rgbFromPixels({ data, width: 2, height: 2, channels }).data).toEqual(rgb);
    }
  });

  test("frames are sampled as the model card does: int(start + seg / 2 + round(seg · i)), halves to even", () => {
    expect(sampleFrameIndices(9, 4)).toEqual([1, 3, 5, 7]); // seg = 2
    expect(sampleFrameIndices(100, 8)).toEqual([6, 18, 31, 43, 56, 68, 80, 93]); // seg = 12.375
    expect(sampleFrameIndices(1, 3)).toEqual([0, 0, 0]);
  });
});

/** The places where a file's segments or chunks begin, and its end. */
function seams(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: number[] = [];
  if (bytes[0] === 0x89) for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) found.push(at);
  else {
    for (let at = 2; bytes[at] === 0xff && bytes[at + 1] !== 0xd9; ) {
      found.push(at);
      const scan = bytes[at + 1] === 0xda;
      at += 2 + view.getUint16(at + 2);
      while (scan && !(bytes[at] === 0xff && bytes[at + 1]! > 0 && (bytes[at + 1]! < 0xd0 || bytes[at + 1]! > 0xd7))) at++;
    }
  }
  return [...found, bytes.length];
}

test("whichever segments or chunks are lost, doubled or moved: a picture of the declared size, or bad-image", {
  timeout: 120_000,
}, async () => {
  const files = [
    good,
    baseline,
    extra("p-interlaced-palette4.png"),
    extra("j-grey-restart.jpg"),
    extra("j-progressive.jpg"),
    extra("j-ycck.jpg"),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      async (file, picks, allowTruncated) => {
        const at = seams(file);
        const parts = at.slice(0, -1).map((start, i) => file.subarray(start, at[i + 1]));
        for (const pick of picks) {
          const [i, to] = [Math.floor(pick / 3) % parts.length, Math.floor(pick / 100) % parts.length];
          if (pick % 3 === 0) parts.splice(i, 1);
          else if (pick % 3 === 1) parts.splice(i, 0, parts[i]!);
          else parts.splice(to, 0, ...parts.splice(i, 1));
          if (parts.length === 0) return;
        }
        const result = await attempt(join(file.subarray(0, at[0]), ...parts), { maxPixels: 1_000_000, allowTruncated });
        if (!(result instanceof EngineError)) expect(result.data.length).toBe(result.width * result.height * 3);
      },
    ),
    { numRuns: 400 },
  );
});
