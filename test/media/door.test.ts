import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { type ImageLike, toRgb } from "../../src/api/images.ts";
import { holdable } from "../../src/api/tiling.ts";
import { EngineError } from "../../src/errors.ts";
import type { RgbImage } from "../../src/media/image.ts";
import { chunk, idat, ihdr, png, rawRows } from "./helpers.ts";

const file = png(ihdr(4, 3), idat(rawRows(4, 3)), chunk("IEND"));
const base64 = Buffer.from(file).toString("base64");
const folder = mkdtempSync(join(tmpdir(), "internvl door "));
const path = join(folder, "100 % häßlich#1?.png");
writeFileSync(path, file);
afterAll(() => rmSync(folder, { recursive: true }));

async function read(image: unknown, options: object = {}): Promise<RgbImage> {
  const settings = { name: "image 2", ...options };
  const { held, rgb } = await holdable(image as ImageLike, settings);
  return rgb ?? toRgb(held, settings);
}

describe("a picture may be given as", () => {
  test.each<[string, unknown]>([
    ["a path with signs that URLs encode", path],
    ["a file: URL", pathToFileURL(path)],
    ["a file: URL as a text", pathToFileURL(path).href],
    ["a data URL", `data:image/png;base64,${base64}`],
    ["a data URL of another type", `data:application/octet-stream;base64,${base64}`],
    ["a data URL with a line break", `data:image/png;base64,${base64.slice(0, 20)}\n${base64.slice(20)}`],
    ["a data URL object", new URL(`data:image/png;base64,${base64}`)],
    ["a percent-encoded data URL", `data:image/png,${Array.from(file, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`],
    ["a data URL with long parameters", `data:image/png;name=${"x".repeat(2000)};charset=utf-8; Base64 ,${base64}`],
    ["a data URL behind a line break", `\n data:image/png;base64,${base64}\n`],
    ["a Blob's address", URL.createObjectURL(new Blob([file as Uint8Array<ArrayBuffer>]))],
    ["a Blob's address as a URL", new URL(URL.createObjectURL(new Blob([file as Uint8Array<ArrayBuffer>])))],
    ["bytes", file],
    ["a part of a buffer", new Uint8Array(Buffer.concat([Buffer.alloc(5), file, Buffer.alloc(9)])).subarray(5, 5 + file.length)],
    ["a Buffer of the pool", Buffer.from(file)],
    ["an ArrayBuffer", file.slice().buffer],
    ["shared memory", Object.assign(new Uint8Array(new SharedArrayBuffer(file.length)), file)],
    ["a Blob", new Blob([file as Uint8Array<ArrayBuffer>])],
  ])("%s", async (_, image) => expect(await read(image)).toMatchObject({ width: 4, height: 3 }));
});

const revoked = URL.createObjectURL(new Blob([file as Uint8Array<ArrayBuffer>]));
URL.revokeObjectURL(revoked);
const detached = new Uint8Array(8);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const failing = Object.assign(new Blob(["x"]), { arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) });
const throwing = new Proxy(
  {},
  {
    has: () => {
      throw new Error("no");
    },
  },
);

describe("what is no picture is reported", () => {
  test.each<[string, unknown, RegExp]>([
    ["base64 alone", base64, /^image 2 is a text of \d+ characters that looks like base64/],
    ["a long base64 of something else", "QUJD".repeat(100), /looks like base64/],
    ["another scheme", "s3://bucket/key.png", /addresses with "s3" cannot be read/],
    ...[
      "ftp://host/a.png",
      "about:blank",
      "chrome-extension://id/a.png",
      "javascript:void 0",
      "mailto:a@b",
      "filesystem:http://a/b",
    ].flatMap((text): [string, unknown, RegExp][] => [
      [text, text, /^image 2 is ".*": addresses with "[a-z-]+" cannot be read here/],
      [`${text} as a URL`, new URL(text), /^image 2 is ".*": addresses with "[a-z-]+" cannot be read here/],
    ]),
    ["an address that takes another object's scheme", new URL("x-mine:a.png"), /addresses with "x-mine" cannot be read here/],
    [
      "a Blob's address that was taken back",
      revoked,
      /^image 2 is "blob:nodedata:[\w-]+": there is no Blob with this address, or no longer/,
    ],
    ["a Blob's address of a page", "blob:http://host/x", /^image 2 is "blob:http:\/\/host\/x": there is no Blob/],
    ["an empty text", "", /is an empty text/],
    ["a path with a zero", "a\0b", /zero character/],
    ["a missing file", join(folder, "no.png"), /cannot read ".*no\.png": there is no such file/],
    ["a folder", folder, /cannot read .*folder/],
    ["a file: URL of another host", "file://host/a.png", /names no local path/],
    ["a data URL of a page", "data:text/html,<p>hi</p>", /holds "text\/html", no picture/],
    ["a data URL without a comma", "data:image/png;base64", /without a comma/],
    ["a data URL with broken base64", "data:image/png;base64,A*B", /base64 is damaged/],
    ["a data URL without data", "data:image/png;base64,", /without data/],
    ["an SVG as a data URL", "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'/>", /an SVG file/],
    ["a data URL of a video", `data:video/mp4;base64,${Buffer.from("\0\0\0\x18ftypisom").toString("base64")}`, /an MP4 video/],
    ["null", null, /image 2 is null, needs a picture/],
    ["a number", 5, /image 2 is 5/],
    ["an object", { a: 1 }, /image 2 is an object with a/],
    ["moved bytes", detached, /no bytes: it is empty, or its buffer was moved away/],
    ["a Blob that cannot be read", failing, /image 2's file cannot be read: gone/],
    ["raw pixels of 30,000 x 30,000", { data: new Uint8Array(3), width: 30_000, height: 30_000 }, /at most 200000000 are allowed/],
    ["raw pixels without width", { data: new Uint8Array(3), width: 0, height: 1 }, /width of the pixels is 0/],
  ])("%s", async (_, image, message) => {
    const error = await read(image).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.length).toBeLessThan(500);
  });

  test("an object that throws", () =>
    expect(toRgb(throwing as ImageLike, { name: "image 2" })).rejects.toMatchObject({
      code: "bad-input",
      message: expect.stringMatching(/^image 2 cannot be read: no/),
    }));

  test("limits are options of all kinds, and the hint names them", async () => {
    const pixels = { data: new Uint8Array(12 * 3), width: 4, height: 3 };
    for (const image of [file, path, pixels]) {
      await expect(read(image, { maxPixels: 11 })).rejects.toMatchObject({
        code: "bad-image",
        hint: expect.stringContaining("raise maxPixels"),
      });
      await expect(read(image, { maxSide: 3 })).rejects.toMatchObject({
        code: "bad-image",
        hint: expect.stringContaining("raise maxSide"),
      });
      await expect(read(image, { maxSide: -1 })).rejects.toMatchObject({ code: "bad-input" });
    }
  });
});
