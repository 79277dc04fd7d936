import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { decodeFile } from "../../src/api/decode-file.ts";
import type { ImageOptions } from "../../src/api/image-options.ts";
import { toRgb } from "../../src/api/images.ts";
import { EngineError } from "../../src/errors.ts";
import { pathOf } from "../support.ts";
import { difference, join, readBytes } from "./helpers.ts";

const FOLDER = "test/fixtures/formats/"; // made by its make.py
const file = (name: string) => readBytes(FOLDER + name);
const decode = (bytes: Uint8Array, options: Partial<ImageOptions> = {}) => decodeFile(bytes, { name: "image 1", ...options });
const names = readdirSync(pathOf(FOLDER)).filter((name) => /\.(bmp|gif|webp|tiff|avif|heic)$/.test(name));

/** How far from Pillow's pixels, in levels: the largest difference, and the mean; as docs/library.md says. */
function claimed(picture: string): [max: number, mean: number] {
  const [, off] = new RegExp(`^\\| ${picture} \\| [^|]* \\| (.*?) \\|`, "m").exec(readFileSync(pathOf("docs/library.md"), "utf8"))!;
  const [, max, mean = "0"] = /^(\d+)(?: \(([\d.]+)\))?/.exec(off!)!;
  return [Number(max), Number(mean)];
}

/** 4:2:0: libheif and libavif, Pillow's, make the colours between samples otherwise. HEIC is compared with libheif 1.15's heif-convert. */
const rowOf = (name: string): string => {
  const kind = name.split(".").at(-1)!;
  if (kind === "avif") return `AVIF, ${name === "photo.avif" ? "4:2:0" : "4:4:4"}`;
  return kind === "webp" ? "WebP" : kind.toUpperCase();
};

async function refusal(bytes: Uint8Array, options: Partial<ImageOptions> = {}): Promise<string> {
  const error = await decode(bytes, options).then(
    ({ width, height }) => new Error(`decoded to ${width} x ${height} pixels`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof EngineError)) throw error;
  expect(error.code).toBe("bad-image");
  expect(error.hint).toBeTruthy();
  expect(error.message.length).toBeLessThan(400);
  expect(error.message).not.toMatch(/undefined|object Object|TypeError|\n/);
  return error.message;
}

describe("in Node, pixels are Pillow's", () => {
  it.each(names)("%s", async (name) => {
    const [image, pillow] = [await decode(file(name)), await decode(file(`${name}.png`))];
    expect([image.width, image.height]).toEqual([pillow.width, pillow.height]);
    const { max, mean } = difference(image.data, pillow.data);
    const [most, mostMean] = claimed(rowOf(name));
    expect(max).toBeLessThanOrEqual(most);
    expect(mean).toBeLessThanOrEqual(mostMean);
  });

  it.each(["photo3.jpg", "s10-cmyk.jpg", "s11-progressive.jpg", "s12-exif6.jpg"])("%s", async (name) => {
    const pillow = await decode(readBytes(`test/fixtures/preprocess/decoded-${name.replace("jpg", "png")}`));
    const { max, mean } = difference((await decode(readBytes(`test/fixtures/preprocess/${name}`))).data, pillow.data);
    const [most, mostMean] = claimed("JPEG, smaller");
    expect([max <= most, mean <= mostMean]).toEqual([true, true]);
  });

  it("of a JPEG by sharp too, and EXIF does not turn it", async () => {
    for (const name of ["photo2.jpg", "s11-progressive.jpg", "s12-exif6.jpg"]) {
      const bytes = readBytes(`test/fixtures/preprocess/${name}`);
      const [own, native] = [await decode(bytes), await decode(bytes, { decoder: "native" })];
      expect([native.width, native.height]).toEqual([own.width, own.height]);
      expect(difference(native.data, own.data).max, name).toBeLessThanOrEqual(name === "photo2.jpg" ? 0 : 3);
    }
  });

  it("an AVIF file with the brand mif1 is one", async () => {
    const bytes = file("lossless.avif");
    const brand = [..."mif1"].map((letter) => letter.charCodeAt(0));
    const { data } = await decode(join(bytes.slice(0, 8), brand, bytes.slice(12)));
    expect(data).toEqual((await decode(bytes)).data);
  });
});

const FORMATS = ["24.bmp", "photo.webp", "palette.gif", "none.tiff", "photo.avif", "photo.heic"];

describe("what is wrong with a file is reported", () => {
  it.each(FORMATS)("%s above the limits, before it is decoded", async (name) => {
    const { width, height } = await decode(file(`${name}.png`));
    const limits = `is ${width} x ${height} = ${width * height} pixels, at most 100 are allowed`;
    expect(await refusal(file(name), { maxPixels: 100 })).toContain(limits);
    expect(await refusal(file(name), { maxSide: 20 })).toContain("at most 20 a side are allowed");
  });

  it("sizes that are only claimed", async () => {
    const at = (name: string, offset: number, ...bytes: number[]) => {
      const changed = file(name).slice();
      changed.set(bytes, offset);
      return changed;
    };
    const wide = Buffer.from(file("none.tiff")).indexOf(Buffer.from([0, 1, 4, 0, 1, 0, 0, 0, 23])); // ImageWidth
    expect(await refusal(at("none.tiff", wide + 8, 0, 0, 16, 0))).toMatch(/1048576 x 17 pixels, at most 65535 a side/);
    expect(await refusal(at("24.bmp", 18, 0, 0, 1, 0))).toMatch(/65536 x 17 pixels, at most 65535 a side/);
    expect(await refusal(at("24.bmp", 18, 255, 255, 255, 255))).toMatch(/declares -1 x 17 pixels/);
    expect(await refusal(at("24.bmp", 18, 0, 60, 0, 0))).toMatch(/it is cut off/);
    expect(await refusal(at("rle8.bmp", 18, 0, 60, 0, 0, 0, 30, 0, 0))).toMatch(/it is cut off/);
  });

  it.each(FORMATS)("%s cut off, anywhere", async (name) => {
    const bytes = file(name);
    const parts = name.endsWith("heic") ? 3 : 10; // a thread each
    for (let i = 1; i < parts; i++) await refusal(bytes.subarray(0, Math.max(14, Math.floor((bytes.length * i) / parts))));
  });

  it("a BMP shows what there is of it with allowTruncated", async () => {
    for (const name of ["24.bmp", "rle8.bmp"]) {
      const bytes = file(name);
      const [part, whole] = [await decode(bytes.subarray(0, bytes.length * 0.8), { allowTruncated: true }), await decode(bytes)];
      expect([part.width, part.height]).toEqual([whole.width, whole.height]);
      expect(difference(part.data, whole.data).equal, name).toBeGreaterThan(0.5);
    }
  });

  it.each(FORMATS.filter((name) => !name.endsWith("heic")))(
    "%s with damaged bytes is refused or decoded, and nothing else",
    async (name) => {
      for (let seed = 1; seed <= 40; seed++) {
        const bytes = file(name).slice();
        for (let i = 0, state = seed * 2654435761; i < 3; i++, state = (state * 1103515245 + 12345) >>> 0)
          bytes[14 + (state % (bytes.length - 14))]! ^= 1 << (state >>> 29);
        await decode(bytes, { maxPixels: 1e6 }).catch((error: unknown) => {
          if (!(error instanceof EngineError) || error.code !== "bad-image") throw error;
        });
      }
    },
  );

  it("a TIFF with a compression that sharp is built without is to be converted, not fetched again", async () => {
    const bytes = file("deflate.tiff").slice();
    const compression = Buffer.from(bytes).indexOf(Buffer.from([3, 1, 3, 0, 1, 0, 0, 0, 8, 0]));
    bytes.set([0x50, 0xc3], compression + 8); // 50000, ZSTD
    await expect(decode(bytes)).rejects.toMatchObject({ message: expect.stringMatching(/ZSTD/), hint: "Convert it to PNG or JPEG." });
  });

  it("a BMP of a kind that is not known", async () => {
    const changed = (offset: number, value: number) => {
      const bytes = file("24.bmp").slice();
      bytes[offset] = value;
      return bytes;
    };
    expect(await refusal(changed(28, 2))).toMatch(/has 2 bits a pixel, which is not decoded/);
    expect(await refusal(changed(30, 4))).toMatch(/has the compression 4/);
    expect(await refusal(changed(14, 41))).toMatch(/header says that it has 41 bytes/);
  });

  it('decoder: "js" takes what this library decodes itself', async () => {
    expect(await refusal(file("photo.webp"), { decoder: "js" })).toBe('the picture is a WebP file, which decoder: "js" does not take');
    expect((await decode(file("24.bmp"), { decoder: "js" })).width).toBe(23);
  });

  it("by the picture's name", async () => {
    const bytes = file("photo.webp").subarray(0, 100);
    await expect(toRgb(bytes, { name: "image 2" })).rejects.toMatchObject({
      message: expect.stringMatching(/^image 2: the WebP file cannot/),
    });
  });
});

it("without the packages, the error names format and package", () => {
  // As if they were not installed, in threads too.
  const hooks = `data:text/javascript,${encodeURIComponent(`export const resolve = (specifier, context, next) => {
    if (/^(sharp|libheif-js)/.test(specifier)) throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" });
    return next(specifier, context);
  }`)}`;
  const register = `data:text/javascript,${encodeURIComponent(`import { register } from "node:module"; register(${JSON.stringify(hooks)});`)}`;
  const script = `
    import { readFileSync } from "node:fs";
    import { decodeFile } from ${JSON.stringify(pathToFileURL(pathOf("dist/src/api/decode-file.js")))};
    for (const name of ${JSON.stringify(FORMATS)})
      console.log(await decodeFile(new Uint8Array(readFileSync(${JSON.stringify(pathOf(FOLDER))} + name)), { name })
        .then(({ width }) => width, ({ code, message, hint }) => [code, message, hint].join("; ")));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: `--import=${register}` },
  });
  const says = (format: string, name: string) =>
    `bad-image; the picture is in the format ${format}, which the package ${name} decodes, and that is not installed; npm install ${name}, or convert the picture to PNG or JPEG`;
  const sharp = ["WebP", "GIF", "TIFF", "AVIF"].map((format) => says(format, "sharp"));
  expect(stdout.trim().split("\n"), stderr).toEqual(["23", ...sharp, says("HEIC", "libheif-js")]);
});
