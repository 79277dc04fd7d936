import { readdirSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import { attempt, chunk, difference, expectBad, ihdr, join, png, rawRows, readBytes, readJson } from "./helpers.ts";

const FOLDER = "test/fixtures/pictures/";
const picture = (name: string) => readBytes(FOLDER + name);
const { files } = readJson<{ files: Record<string, { pixels?: string; why?: string }> }>(`${FOLDER}cases.json`);
const cases = Object.entries(files);

test("every picture of the folder is in the table", () => {
  const there = readdirSync(new URL(`../../${FOLDER}`, import.meta.url)).filter((name) => !/^pillow-|\.json$|^jpeg-trailing/.test(name));
  expect(there.sort()).toEqual(Object.keys(files).sort());
});

describe("what Pillow shows is shown", () => {
  test.each(cases.filter(([, { pixels }]) => pixels))("%s", async (name, { pixels }) => {
    const [image, pillow] = [await decodeImage(picture(name)), await decodeImage(picture(pixels!))];
    expect([image.width, image.height]).toEqual([pillow.width, pillow.height]);
    expect(difference(image.data, pillow.data).max).toBeLessThanOrEqual(name.endsWith(".png") ? 0 : 3);
  });
});

/** What Pillow refuses for reasons that do not touch the pixels. */
const SHOWN_HERE = new Set(["p22-1bit-trns.png"]);

describe("what Pillow refuses is reported", () => {
  test.each(cases.filter(([, { why }]) => why))("%s", async (name) => {
    const result = await attempt(picture(name));
    expect(result instanceof Error).toBe(!SHOWN_HERE.has(name));
  });
});

describe("data that end too early", () => {
  const jpeg = picture("r00-dri.jpg");
  const half = jpeg.subarray(0, jpeg.length >> 1);

  test("a JPEG's missing end marker is not missed where its pixels are complete", async () => {
    const whole = await decodeImage(jpeg);
    expect(difference((await decodeImage(jpeg.subarray(0, -2))).data, whole.data).max).toBeLessThanOrEqual(3);
  });

  test("a JPEG that is cut off shows what there is, on demand", async () => {
    await expectBad(half, /cut off/);
    await expect(decodeImage(half)).rejects.toMatchObject({ hint: expect.stringContaining("allowTruncated: true") });
    const [part, whole] = [await decodeImage(half, { allowTruncated: true }), await decodeImage(jpeg)];
    const top = 200 * 3 * 32; // bytes of the first 32 rows
    expect(difference(part.data.subarray(0, top), whole.data.subarray(0, top)).max).toBeLessThanOrEqual(3);
    expect([...part.data.subarray(-3)]).toEqual([128, 128, 128]);
  });

  test("a progressive JPEG without its last scans is no picture, but for allowTruncated", async () => {
    const progressive = picture("j02-prog-no-eoi.jpg");
    await expectBad(progressive, /cut off/);
    expect(await decodeImage(progressive, { allowTruncated: true })).toMatchObject({ width: 200, height: 150 });
  });

  test("a file that ends before its pixels begin shows nothing", async () => {
    await expectBad(jpeg.subarray(0, 300), /cut off/, { allowTruncated: true });
  });
});

describe("PNG streams that are not quite right", () => {
  const [width, height] = [9, 40];
  const raw = rawRows(width, height);
  const stream = new Uint8Array(deflateSync(raw));
  const last = stream.slice();
  last[last.length - 1]! ^= 1;
  const end = chunk("IEND");
  const of = (...idats: Uint8Array[]) => png(ihdr(width, height), ...idats.map((data) => chunk("IDAT", data)), end);
  const whole = Uint8Array.from(raw.filter((_, i) => i % (1 + 3 * width) > 0));

  test.each<[string, Uint8Array]>([
    ["whole", of(stream)],
    ["in single bytes", of(...Array.from(stream, (byte) => Uint8Array.of(byte)))],
    ["without its checksum", of(stream.subarray(0, -4))],
    ["with half its checksum", of(stream.subarray(0, -2))],
    ["with bytes behind it", of(join(stream, new Uint8Array(5000).fill(7)))],
    ["with a chunk of bytes behind it", of(stream, new Uint8Array(5000).fill(7))],
    ["with rows too many", of(deflateSync(join(raw, raw)))],
    ["with a byte too many and a wrong checksum", of(join(deflateSync(join(raw, [5])).subarray(0, -4), [1, 2, 3, 4]))],
    [
      "in a chunk whose length is too large",
      png(ihdr(width, height), Uint8Array.of(0x7f, 255, 255, 255), chunk("IDAT", stream).subarray(4)),
    ],
    ["before a damaged chunk", join(png(ihdr(width, height), chunk("IDAT", stream)), [0, 0, 0, 9, 1, 2, 3, 4])],
  ])("%s", async (_, file) => expect(Buffer.compare((await decodeImage(file)).data, whole)).toBe(0));

  test.each<[string, Uint8Array, RegExp]>([
    ["a wrong checksum", of(last), /checksum \(Adler-32\) does not match/],
    ["a row too few", of(deflateSync(raw.subarray(0, -28))), /inflate to 1092 bytes, exactly 1120 are needed: it is cut off/],
    [
      "a text between its parts",
      png(ihdr(width, height), chunk("IDAT", stream.subarray(0, 9)), chunk("tEXt"), chunk("IDAT", stream.subarray(9))),
      /cut off/,
    ],
    ["damage", of(stream.map((byte, i) => (i === stream.length >> 1 ? byte ^ 255 : byte))), /compressed pixels are damaged/],
  ])("is refused with %s", (_, file, message) => expectBad(file, message));

  test("a cut stream shows its rows on demand, the others black", async () => {
    const file = of(deflateSync(raw.subarray(0, 28 * 10)));
    await expectBad(file, /cut off/);
    const { data } = await decodeImage(file, { allowTruncated: true });
    expect(Buffer.compare(data.subarray(0, 270), whole.subarray(0, 270))).toBe(0);
    expect(data.subarray(270).every((value) => value === 0)).toBe(true);
  });

  test("a bomb is left as soon as the picture is complete", async () => {
    const bomb = deflateSync(join(raw, new Uint8Array(200e6)));
    const before = process.memoryUsage().arrayBuffers;
    expect(Buffer.compare((await decodeImage(of(bomb))).data, whole)).toBe(0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50e6);
  });
});
