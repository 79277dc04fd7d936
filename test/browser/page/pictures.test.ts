import { describe, expect, it } from "vitest";
import { decodeImage } from "../../../src/media/decode.ts";
import { calledInPage, readRepository } from "./support.ts";

const sha256 = async (bytes: Uint8Array): Promise<string> =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");

const json = async (path: string) => JSON.parse(new TextDecoder().decode(await readRepository(path)));

describe("pictures in a page", () => {
  it("decodes a photo of a million pixels to Pillow's pixels, in a worker", async () => {
    const { cases } = await json("test/fixtures/preprocess/cases.json");
    const { decoded_sha256 } = cases.find(({ file }: { file: string }) => file === "photo2.jpg");
    const file = await readRepository("test/fixtures/preprocess/photo2.jpg");
    await decodeImage(file); // starts the worker
    let data!: Uint8Array;
    const called = await calledInPage(async () => {
      ({ data } = await decodeImage(file));
    });
    // The page reads the header and sends the file away.
    const header = ["jpeg-frame.ts", "jpeg-segments.ts", "sniff.ts"];
    expect(called.filter((path) => path.startsWith("media/"))).toEqual(
      ["decode-client.ts", "decode.ts", "dimensions.ts", "image.ts", ...header].map((name) => `media/${name}`),
    );
    expect(await sha256(data)).toBe(decoded_sha256);
    expect(file.length).toBeGreaterThan(0); // the caller's bytes stay the caller's
  });

  it("shows what Pillow shows", async () => {
    const { files } = (await json("test/fixtures/pictures/cases.json")) as { files: Record<string, { pixels?: string }> };
    for (const [name, { pixels }] of Object.entries(files)) {
      const image = await decodeImage(await readRepository(`test/fixtures/pictures/${name}`)).catch((error: Error) => error);
      if (!pixels) {
        if (image instanceof Error) expect(image, name).toMatchObject({ code: "bad-image" });
        continue;
      }
      if (image instanceof Error) throw new Error(`${name}: ${image.message}`, { cause: image });
      const pillow = await decodeImage(await readRepository(`test/fixtures/pictures/${pixels}`));
      let largest = 0;
      for (let i = 0; i < pillow.data.length; i++) largest = Math.max(largest, Math.abs(pillow.data[i]! - image.data[i]!));
      expect(largest, name).toBeLessThanOrEqual(name.endsWith(".png") ? 0 : 3);
    }
  });

  it("ends its worker when the caller aborts", async () => {
    const file = await readRepository("test/fixtures/preprocess/photo2.jpg");
    const controller = new AbortController();
    const decoding = decodeImage(file, { signal: controller.signal });
    controller.abort();
    await expect(decoding).rejects.toMatchObject({ code: "aborted", name: "AbortError" });
    expect((await decodeImage(file)).width).toBe(1000);
  });
});
