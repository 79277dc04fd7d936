import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { deflateSync } from "node:zlib";
import jpegjs from "jpeg-js";
import { afterEach, describe, expect, test, vi } from "vitest";
import { pathOf } from "../support.ts";
import { chunk, difference, fixture, ihdr, png, readBytes } from "./helpers.ts";

const photo = fixture("photo2.jpg"); // 1000 x 1000
const trailing = readBytes("test/fixtures/pictures/r10-one-interval-lost.jpg");

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

describe("large pictures", () => {
  test("go to one thread, which stays for the next", async () => {
    const { platform } = await import("../../src/platform/node.ts");
    const start = vi.spyOn(platform, "startDecoder");
    const { decodeImage } = await import("../../src/media/decode.ts");
    await Promise.all([decodeImage(photo), decodeImage(photo)]);
    await decodeImage(photo);
    expect(start).toHaveBeenCalledTimes(1);
    expect(photo.length).toBeGreaterThan(0); // the caller's bytes stay the caller's
  });

  test("do not keep the process from its end", () => {
    const script = `
      import { readFileSync } from "node:fs";
      import { decodeImage } from ${JSON.stringify(pathToFileURL(pathOf("dist/src/media/decode.js")))};
      console.log((await decodeImage(new Uint8Array(readFileSync(process.argv[1])))).width);`;
    const args = ["--input-type=module", "-e", script, pathOf("test/fixtures/preprocess/photo2.jpg")];
    expect(execFileSync(process.execPath, args, { encoding: "utf8" })).toBe("1000\n");
  });

  test("end with their signal, and the next is decoded", async () => {
    const { platform } = await import("../../src/platform/node.ts");
    const { startDecoder } = platform;
    const controller = new AbortController();
    const start = vi.spyOn(platform, "startDecoder").mockImplementationOnce(async () => {
      const thread = await startDecoder();
      return { ...thread, post: () => controller.abort() }; // it has its picture, and never says anything
    });
    const { decodeImage } = await import("../../src/media/decode.ts");
    const [cut, whole] = [decodeImage(photo, { signal: controller.signal, name: "a" }), decodeImage(photo)];
    await expect(cut).rejects.toMatchObject({ code: "aborted", name: "AbortError" });
    expect((await whole).width).toBe(1000);
    expect(start).toHaveBeenCalledTimes(2);
    await expect(decodeImage(photo, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });

  test("of every kind: grey, four components, PNG", async () => {
    const { decodeImage } = await import("../../src/media/decode.ts");
    const [width, height] = [1200, 900];
    const rows = new Uint8Array((1 + width) * height).map((_, i) => (i % (1 + width) === 0 ? 0 : i * 7));
    const image = await decodeImage(png(ihdr(width, height, 8, 0), chunk("IDAT", deflateSync(rows)), chunk("IEND")));
    const grey = rows.filter((_, i) => i % (1 + width) > 0);
    expect(image.data.every((value, i) => value === grey[Math.trunc(i / 3)])).toBe(true);
    const rgba = Buffer.alloc(width * height * 4, 90);
    const { data } = await decodeImage(jpegjs.encode({ data: rgba, width, height }, 90).data);
    expect(data.every((value) => Math.abs(value - 90) < 2)).toBe(true);
  });

  test("where no thread starts, jpeg-js takes them after one warning; what only libjpeg can read is refused", async () => {
    const { platform } = await import("../../src/platform/node.ts");
    vi.spyOn(platform, "startDecoder").mockImplementation(() => {
      throw new Error("not allowed here");
    });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { decodeImage } = await import("../../src/media/decode.ts");
    const image = await decodeImage(photo);
    expect([image.width, image.height]).toEqual([1000, 1000]);
    await decodeImage(photo);
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/no worker can be started.*not allowed here/)]]);
    await expect(decodeImage(trailing)).rejects.toMatchObject({
      code: "bad-image",
      message: expect.stringContaining("only libjpeg finds its way"),
    });
    vi.restoreAllMocks();
    vi.resetModules();
    const fresh = await import("../../src/media/decode.ts");
    expect(difference((await fresh.decodeImage(photo)).data, image.data).max).toBeLessThanOrEqual(6);
  });
});
