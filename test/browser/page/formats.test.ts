import { describe, expect, it } from "vitest";
import { toRgb } from "../../../src/api/images.ts";
import { readRepository } from "./support.ts";

const file = (name: string) => readRepository(`test/fixtures/formats/${name}`);
const decode = async (name: string) => toRgb(await file(name), { name: "image 1" });

/** What Chromium decodes or we do: one of each kind. */
const FORMATS = [
  "24.bmp",
  "4.bmp",
  "16-565.bmp",
  "rle8.bmp",
  "lossless.webp",
  "alpha-lossless.webp",
  "alpha-lossy.webp",
  "lossy.webp",
  "photo.webp",
  "animated.webp",
  "rotated.webp",
  "palette.gif",
  "interlaced.gif",
  "grey.gif",
  "transparent.gif",
  "animated.gif",
  "moved.gif",
  "moved-transparent.gif",
  "lossless.avif",
  "alpha.avif",
  "grey.avif",
  "photo.avif",
  "rotated.avif",
  "mirrored.avif",
];

describe("in a page, pixels are Pillow's", () => {
  it.each(FORMATS)("%s", async (name) => {
    const [image, pillow] = [await decode(name), await decode(`${name}.png`)];
    expect([image.width, image.height]).toEqual([pillow.width, pillow.height]);
    expect(image.data.findIndex((value, i) => value !== pillow.data[i])).toBe(-1);
  });

  it.each(["none.tiff", "photo.heic"])("%s is of a kind that Chromium does not know", async (name) => {
    await expect(decode(name)).rejects.toMatchObject({
      code: "bad-image",
      message: expect.stringMatching(/the browser cannot decode the (TIFF|HEIC) file/),
      hint: expect.stringContaining("convert it to PNG or JPEG"),
    });
  });

  it.each(["photo.webp", "palette.gif", "photo.avif", "24.bmp"])("%s is refused where it is too large, or cut off", async (name) => {
    const bytes = await file(name);
    await expect(toRgb(bytes, { name: "image 1", maxPixels: 100 })).rejects.toMatchObject({
      code: "bad-image",
      message: expect.stringContaining("at most 100"),
    });
    await expect(toRgb(bytes.slice(0, 60), { name: "image 1" })).rejects.toMatchObject({ code: "bad-image" });
    await expect(toRgb(bytes.slice(0, bytes.length / 2), { name: "image 1" })).rejects.toMatchObject({ code: "bad-image" });
  });
});
