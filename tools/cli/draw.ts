import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname, parse, resolve } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { toRgb } from "../../src/api/images.ts";
import { rawPixels, type Source } from "../../src/api/pictures.ts";
import { EngineError } from "../../src/errors.ts";
import type { Box, Message } from "../../src/index.ts";
import type { RgbImage } from "../../src/media/image.ts";
import { quoted } from "../../src/options.ts";
import { onFile, UsageError } from "./failures.ts";
import type { ReadingFlags } from "./model.ts";

/** Colours that can be told apart, in turn. */
const COLOURS = [0xe6194b, 0x3cb44b, 0x4363d8, 0xf58231, 0x911eb4, 0x00b8d4];

/** Digits, 3 x 5: rows from the top, 3 bits each. */
const DIGITS = [0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717];

function fill({ width, height, data }: RgbImage, left: number, top: number, right: number, bottom: number, colour: number): void {
  for (let y = Math.max(0, top); y < Math.min(height, bottom); y++)
    for (let x = Math.max(0, left); x < Math.min(width, right); x++)
      data.set([colour >> 16, (colour >> 8) & 255, colour & 255], (y * width + x) * 3);
}

/** Draws a box's frame and its number into a picture. */
function drawBox(image: RgbImage, { box }: Box, number: number): void {
  const { width, height } = image;
  const thick = Math.max(1, Math.round(Math.min(width, height) / 200));
  const [x1, x2] = [box[0], box[2]].map((x) => Math.round((x / 1000) * (width - 1))) as [number, number];
  const [y1, y2] = [box[1], box[3]].map((y) => Math.round((y / 1000) * (height - 1))) as [number, number];
  const colour = COLOURS[(number - 1) % COLOURS.length]!;
  fill(image, x1, y1, x2 + 1, y1 + thick, colour);
  fill(image, x1, y2 + 1 - thick, x2 + 1, y2 + 1, colour);
  fill(image, x1, y1, x1 + thick, y2 + 1, colour);
  fill(image, x2 + 1 - thick, y1, x2 + 1, y2 + 1, colour);
  const unit = 2 * thick;
  const digits = String(number);
  fill(image, x1, y1, x1 + (4 * digits.length + 1) * unit, y1 + 7 * unit, colour);
  for (const [i, digit] of [...digits].entries())
    for (let at = 0; at < 15; at++) {
      if (!((DIGITS[Number(digit)]! >> (14 - at)) & 1)) continue;
      const [x, y] = [x1 + (4 * i + 1 + (at % 3)) * unit, y1 + (1 + Math.floor(at / 3)) * unit];
      fill(image, x, y, x + unit, y + unit, 0xffffff);
    }
}

/** A PNG file of a picture. */
export function encodePng({ width, height, data }: RgbImage): Uint8Array {
  const chunk = (name: string, body: Uint8Array): Buffer => {
    const named = Buffer.concat([Buffer.from(name), body]);
    const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(body.length);
    crc.writeUInt32BE(crc32(named));
    return Buffer.concat([length, named, crc]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8); // 8 bits, RGB
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width * 3, (y + 1) * width * 3), y * (1 + width * 3) + 1);
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** Refuses a place where no picture could be written, before a model is loaded. @throws UsageError, EngineError bad-input */
export async function checkDraw(path: string): Promise<void> {
  if (!/\.png$/i.test(path)) throw new UsageError(`--draw writes PNG files: ${quoted(path)} must end in .png`);
  await onFile("write", path, access(dirname(resolve(path)), constants.W_OK));
  if ((await stat(path).catch(() => undefined))?.isDirectory())
    throw new EngineError("bad-input", `cannot write ${quoted(path)}: it is a folder`, { hint: "give a file" });
}

/**
 * Writes the pictures of a conversation with an answer's boxes drawn on them: one picture as `path`, of several those that have boxes, with
 * their numbers (`out-2.png`).
 *
 * @returns a line for each box, and one where there is none: which number it has, where it is and what it is of
 */
export async function drawBoxes(path: string, boxes: readonly Box[], history: readonly Message[], flags: ReadingFlags): Promise<string[]> {
  const sources = history.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [[part.image].flat()[0] as Source] : [])),
  );
  const lines = boxes.length === 0 ? ["the answer has no boxes: nothing is drawn"] : [];
  const { maxPixels, maxSide, allowTruncated } = flags;
  for (const [i, source] of sources.entries()) {
    const own = boxes.filter(({ image }) => image === i);
    if (own.length === 0) continue;
    const name = `image ${i + 1}`;
    const given = typeof source === "object" && "width" in source && "data" in source ? rawPixels(source, name) : (source as string);
    const image = await toRgb(given, { name, maxPixels, maxSide, allowTruncated });
    const { dir, name: base, ext } = parse(path);
    const file = sources.length === 1 ? path : `${dir && `${dir}/`}${base}-${i + 1}${ext}`;
    for (const box of own) {
      const number = boxes.indexOf(box) + 1;
      drawBox(image, box, number);
      lines.push(`${file}: ${number} ${box.ref ?? "(no name)"} [${box.box.join(", ")}]`);
    }
    await onFile("write", file, writeFile(file, encodePng(image)));
  }
  const lost = boxes.filter(({ image }) => image === undefined || image >= sources.length).length;
  if (lost > 0) lines.push(`${lost} of ${boxes.length} boxes are not drawn: the answer does not say in which picture they are`);
  return lines;
}
