import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../../src/media/decode.ts";
import { difference, extra, fixture } from "./helpers.ts";

/**
 * Our decode (jpeg-js, then libjpeg's chroma upsampling and colour conversion) against Pillow's pixels.
 * What is left is the rounding of jpeg-js's inverse DCT. Columns: file, largest and mean difference measured, in levels of 255.
 * The bounds are one level and 30 % above what was measured.
 */
const MEASURED: [file: string, max: number, mean: number][] = [
  ["photo3.jpg", 3, 0.089], // jpeg-js alone: 9, 0.627
  ["s10-cmyk.jpg", 2, 0.454], // CMYK conversion by jpeg-js, which cuts fractions off where Pillow rounds
  ["s11-progressive.jpg", 3, 0.155], // jpeg-js alone: 132, 5.74
  ["s12-exif6.jpg", 3, 0.149], // jpeg-js alone: 3, 0.540
  ["j-411.jpg", 3, 0.125],
  ["j-420-narrow.jpg", 3, 0.243],
  ["j-420-restart.jpg", 3, 0.14],
  ["j-420-row.jpg", 0, 0],
  ["j-422.jpg", 3, 0.153],
  ["j-440.jpg", 3, 0.144],
  ["j-cmyk-plain.jpg", 1, 0.068],
  ["j-cmyk.jpg", 1, 0.068],
  ["j-grey-restart.jpg", 1, 0.064],
  ["j-progressive.jpg", 3, 0.14],
  ["j-rgb.jpg", 1, 0.068],
  ["j-ycck.jpg", 2, 0.355],
];

describe("JPEG against Pillow", () => {
  test.each(MEASURED)("%s", async (file, max, mean) => {
    const ours = file.startsWith("j-");
    const image = await decodeImage(ours ? extra(file) : fixture(file));
    const pillow = await decodeImage(ours ? extra(file.replace(".jpg", ".rgb.png")) : fixture(`decoded-${file.replace(".jpg", ".png")}`));
    expect([image.width, image.height]).toEqual([pillow.width, pillow.height]);
    const found = difference(image.data, pillow.data);
    console.log(
      `${file}: largest ${found.max}, mean ${found.mean.toFixed(4)}, ${(100 * found.equal).toFixed(1)} % equal (Pillow's pixels)`,
    );
    expect(found.max).toBeLessThanOrEqual(max + 1);
    expect(found.mean).toBeLessThanOrEqual(mean * 1.3);
  });
});

describe("PNG against Pillow", () => {
  const names = readdirSync(new URL("extra/", import.meta.url)).filter((name) => /^p-.*(?<!\.rgb)\.png$/.test(name));
  test("there are files", () => expect(names.length).toBe(11));
  test.each(names)("%s", async (name) => {
    const image = await decodeImage(extra(name));
    expect(image).toEqual(await decodeImage(extra(name.replace(".png", ".rgb.png"))));
  });
});
