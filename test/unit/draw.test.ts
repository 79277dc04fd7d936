import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { HeldImage } from "../../src/api/pictures.ts";
import type { Box, Message } from "../../src/index.ts";
import { decodePng } from "../../src/media/png.ts";
import { checkDraw, drawBoxes, encodePng } from "../../tools/cli/draw.ts";

const folder = mkdtempSync(join(tmpdir(), "internvl-draw-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [width, height] = [200, 100];
const grey = { data: new Uint8Array(width * height * 3).fill(128), width, height, channels: 3 };
const said = (...images: unknown[]): Message[] => [
  { role: "user", content: [...images.map((image) => new HeldImage([image as string], 1)), { type: "text", text: "Where?" }] as never },
  { role: "assistant", content: "There." },
];
const box = (image: number | undefined, ...corners: Box["box"]): Box => ({ ref: "a dog", box: corners, image });
const read = async (name: string) => decodePng(new Uint8Array(readFileSync(join(folder, name))));

describe("boxes are drawn", () => {
  it("at their place, one pixel thick on a small picture", async () => {
    const lines = await drawBoxes(join(folder, "one.png"), [box(0, 500, 400, 1000, 1000)], said(grey), {});
    expect(lines).toEqual([`${join(folder, "one.png")}: 1 a dog [500, 400, 1000, 1000]`]);
    const image = await read("one.png");
    expect([image.width, image.height]).toEqual([width, height]);
    const drawn = (x: number, y: number) => image.data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3).join();
    const red = "230,25,75";
    for (const [x, y] of [
      [199, 99],
      [199, 40],
      [100, 99],
      [150, 99],
      [199, 70],
      [100, 70],
    ] as const)
      expect(drawn(x, y)).toBe(red);
    for (const [x, y] of [
      [150, 70],
      [99, 70],
      [150, 39],
      [198, 98],
      [0, 0],
    ] as const)
      expect(drawn(x, y)).toBe("128,128,128");
    expect(new Set(Array.from({ length: 14 }, (_, y) => drawn(104, 40 + y)))).toContain("255,255,255"); // its number
  });

  it("each on its own picture, of a PNG file's bytes or of pixels", async () => {
    const boxes = [box(1, 0, 0, 500, 500), box(0, 0, 0, 10, 10), box(1, 0, 0, 1000, 1000), box(undefined, 1, 2, 3, 4)];
    const lines = await drawBoxes(join(folder, "two.png"), boxes, said(encodePng(grey), grey, grey), {});
    expect(lines.map((line) => line.replace(`${folder}/`, ""))).toEqual([
      "two-1.png: 2 a dog [0, 0, 10, 10]",
      "two-2.png: 1 a dog [0, 0, 500, 500]",
      "two-2.png: 3 a dog [0, 0, 1000, 1000]",
      "1 of 4 boxes are not drawn: the answer does not say in which picture they are",
    ]);
    expect((await read("two-1.png")).data).not.toEqual((await read("two-2.png")).data);
    expect(existsSync(join(folder, "two-3.png"))).toBe(false);
  });

  it("a picture of one pixel, and no boxes at all", async () => {
    const pixel = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 };
    await drawBoxes(
      join(folder, "pixel.png"),
      Array.from({ length: 12 }, () => box(0, 0, 0, 1000, 1000)),
      said(pixel),
      {},
    );
    expect((await read("pixel.png")).width).toBe(1);
    expect(await drawBoxes(join(folder, "none.png"), [], said(grey), {})).toEqual(["the answer has no boxes: nothing is drawn"]);
    expect(existsSync(join(folder, "none.png"))).toBe(false);
  });

  it("where it cannot be written is reported before", async () => {
    await checkDraw(join(folder, "new.png"));
    await expect(checkDraw("a.jpg")).rejects.toThrow(/must end in \.png/);
    await expect(checkDraw(join(folder, "none/a.png"))).rejects.toThrow(/no such file or folder/);
  });
});
