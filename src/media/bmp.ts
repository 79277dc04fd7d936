import { badImage, checkDimensions, cutOff, DAMAGED, type ImageLimits, type RgbImage } from "./image.ts";

/** What the headers of a BMP file say. */
interface BmpHeader {
  width: number;
  height: number;
  /** Rows run from the top. */
  topDown: boolean;
  bits: number; // a pixel
  compression: number; // 0 none, 1 RLE8, 2 RLE4, 3 masks
  masks: number[]; // of red, green and blue, where the file or its bits have any
  palette: Uint8Array; // [colours, 3 or 4]: blue, green, red
  step: number; // bytes a colour of the palette
  pixels: number; // where they begin
}

const unsupported = (what: string) => badImage(`the BMP file has ${what}, which is not decoded here`, "Convert it to PNG.");

/** @throws EngineError bad-image */
function readHeader(bytes: Uint8Array): BmpHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 26) throw cutOff(`the BMP file has ${bytes.length} bytes`);
  const size = view.getUint32(14, true);
  const old = size === 12; // of OS/2
  if (![12, 40, 52, 56, 64, 108, 124].includes(size)) throw badImage(`the BMP's header says that it has ${size} bytes`, DAMAGED);
  if (bytes.length < 14 + size) throw cutOff(`the BMP's header of ${size} bytes ends after ${bytes.length - 14}`);
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const rows = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  const at = 14 + size;
  const maskAt = size >= 52 ? 54 : at; // in the header, or behind it
  const masked = compression === 3 && size !== 64;
  if (masked && bytes.length < maskAt + 12) throw cutOff("the BMP file ends in its masks");
  const masks = masked
    ? [0, 4, 8].map((i) => view.getUint32(maskAt + i, true))
    : bits === 16
      ? [0x7c00, 0x3e0, 0x1f]
      : [0xff0000, 0xff00, 0xff];
  const step = old ? 3 : 4;
  const start = at + (masked && size === 40 ? 12 : 0);
  const colours = (old ? 0 : view.getUint32(46, true)) || 2 ** Math.min(bits, 8);
  const palette = bits > 8 ? bytes.subarray(0, 0) : bytes.subarray(start, start + step * Math.min(colours, 2 ** bits));
  const pixels = view.getUint32(10, true);
  return { width, height: Math.abs(rows), topDown: rows < 0, bits, compression, masks, palette, step, pixels };
}

/**
 * Decodes a BMP file as Pillow does: 1, 4, 8, 16, 24 or 32 bits a pixel, run lengths or masks, alpha dropped. No decoder on npm does: of bmp-ts,
 * bmp-js and fast-bmp each mistakes palettes, knows no 16 bits or no run lengths, or trusts the declared size.
 *
 * @throws EngineError bad-image
 */
export function decodeBmp(bytes: Uint8Array, limits: ImageLimits = {}): RgbImage {
  const header = readHeader(bytes);
  const { width, height, bits, compression, pixels } = header;
  checkDimensions("BMP", width, height, limits);
  const runs = (compression === 1 && bits === 8) || (compression === 2 && bits === 4);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw unsupported(`${bits} bits a pixel`);
  if (!runs && compression !== 0 && !(compression === 3 && bits >= 16)) throw unsupported(`the compression ${compression}`);
  const stored = bytes.subarray(pixels);
  const rowBytes = Math.ceil((width * bits) / 32) * 4;
  const whole = runs || stored.length >= rowBytes * (height - 1) + Math.ceil((width * bits) / 8);
  if (!whole && !limits.allowTruncated) throw cutOff(`the BMP of ${width} x ${height} pixels ends after ${stored.length} bytes of them`);
  const data = new Uint8Array(width * height * 3);
  const rowAt = (row: number) => (header.topDown ? row : height - 1 - row) * width * 3;
  if (bits <= 8) {
    const indices = runs ? unpackRuns(stored, header, limits.allowTruncated ?? false) : unpackBits(stored, header, rowBytes);
    colour(indices, header, data, rowAt);
  } else direct(stored, header, rowBytes, data, rowAt);
  return { width, height, data };
}

/** → palette indices [height, width], rows as stored. */
function unpackBits(stored: Uint8Array, { width, height, bits }: BmpHeader, rowBytes: number): Uint8Array {
  const indices = new Uint8Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * bits;
      indices[to++] = ((stored[y * rowBytes + (bit >> 3)] ?? 0) >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
    }
  }
  return indices;
}

/** Pairs of a length and a value, and behind a zero: 0 ends a row, 1 the picture, 2 moves on, more are that many values as they are. */
function unpackRuns(stored: Uint8Array, { width, height, bits }: BmpHeader, tolerant: boolean): Uint8Array {
  const indices = new Uint8Array(width * height);
  const four = bits === 4;
  const value = (byte: number, i: number) => (four ? (i % 2 ? byte & 15 : byte >> 4) : byte);
  for (let at = 0, x = 0, y = 0; y < height; ) {
    const [count, code] = [stored[at], stored[at + 1]];
    if (count === undefined || code === undefined || (count === 0 && code === 1)) {
      if (tolerant || y * width + x >= indices.length) return indices;
      throw cutOff("the BMP ends before its last pixel");
    }
    at += 2;
    if (count > 0) for (let i = 0; i < count; i++, x++) x < width && (indices[y * width + x] = value(code, i));
    else if (code === 0) [x, y] = [0, y + 1];
    else if (code === 2) {
      x += stored[at] ?? 0;
      y += stored[at + 1] ?? 0;
      at += 2;
    } else {
      for (let i = 0; i < code; i++, x++) x < width && (indices[y * width + x] = value(stored[at + (four ? i >> 1 : i)] ?? 0, i));
      at += 2 * Math.ceil((four ? Math.ceil(code / 2) : code) / 2);
    }
  }
  return indices;
}

function colour(indices: Uint8Array, { width, height, palette, step }: BmpHeader, data: Uint8Array, rowAt: (row: number) => number): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0, to = rowAt(y); x < width; x++, to += 3) {
      const from = indices[y * width + x]! * step;
      for (let c = 0; c < 3; c++) data[to + c] = palette[from + 2 - c] ?? 0;
    }
  }
}

/** 16, 24 and 32 bits: little-endian, the colours where the masks are, scaled to 255 as Pillow does. */
function direct(
  stored: Uint8Array,
  { width, height, bits, masks }: BmpHeader,
  rowBytes: number,
  data: Uint8Array,
  rowAt: (row: number) => number,
): void {
  const bytes = bits / 8;
  const parts = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    return { shift, most: mask >>> shift };
  });
  for (let y = 0; y < height; y++) {
    for (let x = 0, to = rowAt(y), at = y * rowBytes; x < width; x++, at += bytes) {
      let pixel = 0;
      for (let i = bytes - 1; i >= 0; i--) pixel = pixel * 256 + (stored[at + i] ?? 0);
      for (const { shift, most } of parts) data[to++] = most === 0 ? 0 : Math.floor((((pixel >>> shift) & most) * 255) / most);
    }
  }
}
