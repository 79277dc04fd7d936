import { badImage, cutOff, DAMAGED } from "./image.ts";
import { chunkName, type PngHeader, readPngHeader } from "./png-header.ts";

/** The parts of a PNG file that its pixels depend on. */
export interface PngParts {
  header: PngHeader;
  palette: Uint8Array | undefined; // [entries, 3], for colour type 3
  idat: Uint8Array[]; // one zlib stream, in pieces
}

/** Samples a pixel, by colour type. */
export const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Adam7: [x start, y start, x step, y step] of each pass (PNG specification, section 8.2). */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/**
 * Walks the chunks up to the end of the pixels: lengths, names, CRCs. As Pillow does, it does not look at the CRCs of IDAT, whose pixels have
 * a checksum of their own, nor at what comes behind them, and steps over chunks that it does not know.
 */
export function readPng(bytes: Uint8Array): PngParts {
  const header = readPngHeader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const idat: Uint8Array[] = [];
  let palette: Uint8Array | undefined;
  for (let offset = 8; offset + 8 <= bytes.length; ) {
    const length = view.getUint32(offset);
    const name = chunkName(bytes, offset);
    const end = offset + 12 + length;
    if (name === "IDAT") {
      idat.push(bytes.subarray(offset + 8, Math.min(end - 4, bytes.length)));
    } else if (idat.length > 0 || name === "IEND") break;
    else {
      if (!/^[A-Za-z]{4}$/.test(name)) throw badImage(`the PNG has no chunk at byte ${offset} where one must begin`, DAMAGED);
      if (end > bytes.length)
        throw cutOff(`the PNG's ${name} chunk at byte ${offset} needs ${length} bytes, ${bytes.length - offset - 8} are there`);
      if (crc32(bytes.subarray(offset + 4, end - 4)) !== view.getUint32(end - 4))
        throw badImage(`the PNG's ${name} chunk at byte ${offset} fails its CRC check`, DAMAGED);
      if (name === "PLTE") palette = bytes.subarray(offset + 8, end - 4);
    }
    offset = end;
  }
  if (idat.length === 0) throw badImage("the PNG has no IDAT chunk, so no pixels", DAMAGED);
  return { header, palette: header.colorType === 3 ? checkPalette(palette) : undefined, idat };
}

function checkPalette(palette: Uint8Array | undefined): Uint8Array {
  if (!palette) throw badImage("the PNG maps its pixels through a palette and has none", DAMAGED);
  if (palette.length === 0 || palette.length % 3 !== 0 || palette.length > 768)
    throw badImage(`the PNG's palette of ${palette.length} bytes is not a list of 1 to 256 RGB colours`, DAMAGED);
  return palette;
}

/** One pass over a picture: pixel i, j of the pass is pixel x + i dx, y + j dy of the picture. */
export interface Pass {
  x: number;
  y: number;
  dx: number;
  dy: number;
  columns: number;
  rows: number;
  rowBytes: number; // packed samples, without the filter byte
}

/** The passes that hold pixels: one, or up to seven where the picture is interlaced. */
export function passesOf({ width, height, depth, colorType, interlaced }: PngHeader): Pass[] {
  const bits = depth * CHANNELS[colorType]!;
  return (interlaced ? ADAM7 : [[0, 0, 1, 1] as const]).flatMap(([x, y, dx, dy]) => {
    const [columns, rows] = [Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)];
    return columns > 0 && rows > 0 ? [{ x, y, dx, dy, columns, rows, rowBytes: Math.ceil((columns * bits) / 8) }] : [];
  });
}

/** The number of bytes that IDAT must inflate to: a filter byte and the packed samples for each row of each pass. */
export const filteredLength = (header: PngHeader): number =>
  passesOf(header).reduce((total, { rows, rowBytes }) => total + rows * (1 + rowBytes), 0);

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
