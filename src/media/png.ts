import pngjs from "pngjs/browser.js";
import { inflatedLength } from "./deflate.ts";
import { badImage, DAMAGED, type RgbImage } from "./image.ts";
import { concat, filteredLength, type PngHeader, type PngParts, readPng } from "./png-structure.ts";

/**
 * Decodes a PNG. The caller has checked the declared size.
 *
 * pngjs does the decoding and is not trusted with anything else. It gets a file that we write anew: only IHDR, PLTE, one IDAT and
 * IEND, with the structure and CRCs checked, and an IDAT that is known to inflate to the very length the picture needs. So no file
 * can make it allocate without bound, and leaving tRNS out makes it ignore transparency as Pillow does (it would blacken such pixels).
 *
 * We import `pngjs/browser.js`, not `pngjs`: the latter is tied to Node, and with Node 20 its inflate returns uninitialised memory for
 * truncated or corrupt data (it reads zlib's two counters in the wrong order). The browser build reports all of that, Adler-32 included.
 */
export function decodePng(bytes: Uint8Array): RgbImage {
  const parts = readPng(bytes);
  const { header } = parts;
  checkInflatedLength(parts);
  const { width, height, data } = pngjs.PNG.sync.read(rewrite(parts), { checkCRC: false, skipRescale: true });
  if (width !== header.width || height !== header.height || data.length !== width * height * 4) {
    throw badImage(`the PNG decoded to ${width} x ${height} pixels, its header says ${header.width} x ${header.height}`, DAMAGED);
  }
  return { width, height, data: toRgb8(data, header) };
}

function checkInflatedLength({ header, idat }: PngParts): void {
  const needed = filteredLength(header);
  let has: number;
  try {
    has = inflatedLength(idat, needed);
  } catch (error) {
    throw badImage(`the PNG's compressed pixels are damaged or cut off: ${(error as Error).message}`, DAMAGED, error);
  }
  if (has !== needed) {
    throw badImage(
      `the PNG's pixels inflate to ${has > needed ? "more than " : ""}${Math.min(has, needed)} bytes, exactly ${needed} are needed`,
      DAMAGED,
    );
  }
}

/** Samples to bytes by Pillow's rules. rgba: [height, width, 4], samples of `depth` bits; the result: [height, width, 3]. */
function toRgb8(rgba: Uint8Array | Uint16Array, { depth, colorType }: PngHeader): Uint8Array {
  const pixels = rgba.length / 4;
  const rgb = new Uint8Array(pixels * 3);
  // Palette entries are bytes at every depth. 1, 2 and 4 bit grey spreads over 0..255.
  const scale = depth < 8 && colorType === 0 ? 255 / ((1 << depth) - 1) : 1;
  const shift = depth === 16 && colorType !== 0 ? 8 : 0;
  for (let i = 0, from = 0, to = 0; i < pixels; i++, from += 4, to += 3) {
    for (let c = 0; c < 3; c++) {
      const value = (rgba[from + c]! * scale) >> shift;
      rgb[to + c] = value > 255 ? 255 : value; // only 16-bit grey gets there: Pillow's mode I;16 saturates in convert("RGB")
    }
  }
  return rgb;
}

/** A minimal PNG file with the same pixels, without CRCs. */
function rewrite({ ihdr, palette, idat }: PngParts): Uint8Array {
  const chunks = [chunk("IHDR", ihdr), palette ? chunk("PLTE", palette) : [], chunk("IDAT", idat), chunk("IEND", new Uint8Array(0))];
  const file = concat([Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), ...chunks.flat()]);
  return new BufferLike(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
}

function chunk(name: string, data: Uint8Array): Uint8Array[] {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setUint32(0, data.length);
  for (let i = 0; i < 4; i++) head[4 + i] = name.charCodeAt(i);
  return [head, data, new Uint8Array(4)];
}

/** The three methods of Node's Buffer that pngjs calls on its input. Browsers have no Buffer. */
class BufferLike extends Uint8Array {
  readUInt32BE(offset: number): number {
    return this.readInt32BE(offset) >>> 0;
  }
  readInt32BE(offset: number): number {
    return (this[offset]! << 24) | (this[offset + 1]! << 16) | (this[offset + 2]! << 8) | this[offset + 3]!;
  }
  override slice(start?: number, end?: number): Uint8Array<ArrayBuffer> {
    return this.subarray(start, end) as Uint8Array<ArrayBuffer>; // a view, as Buffer.slice: pngjs slices the rest of the file at each chunk
  }
}
