import { inflate } from "./deflate.ts";
import { badImage, DAMAGED, type RgbImage } from "./image.ts";
import { CHANNELS, filteredLength, type PngHeader, type PngParts, passesOf, readPng } from "./png-structure.ts";

/**
 * Decodes a PNG to RGB by Pillow's rules (see `rowWriter`); transparency is left out. The caller has checked the declared size.
 *
 * Structure and CRCs are checked first, and the compressed pixels must inflate to the very length that the picture needs.
 *
 * Why no library: pngjs is 79 KiB of the page's bundle (gzip), inflates without a bound and in Node hands out uninitialised memory for cut
 * data; fast-png 8.0.0 takes pixels with a wrong Adler-32 and misreads interlaced pictures of fewer than 8 bits.
 *
 * @throws EngineError bad-image
 */
export function decodePng(bytes: Uint8Array): RgbImage {
  const parts = readPng(bytes);
  const { header, idat } = parts;
  const { width, height } = header;
  let filtered: Uint8Array; // of each pass in turn: [rows, 1 + rowBytes], the first byte of a row names its filter
  try {
    filtered = inflate(idat, filteredLength(header));
  } catch (error) {
    throw badImage(`the PNG's compressed pixels are damaged or cut off: ${(error as Error).message}`, DAMAGED, error);
  }
  const data = new Uint8Array(width * height * 3);
  const write = rowWriter(parts, data);
  const pixelBytes = Math.max(1, (CHANNELS[header.colorType]! * header.depth) / 8);
  let start = 0;
  for (const { x, y, dx, dy, columns, rows, rowBytes } of passesOf(header)) {
    let above = new Uint8Array(rowBytes);
    for (let i = 0; i < rows; i++, start += 1 + rowBytes) {
      const row = filtered.subarray(start + 1, start + 1 + rowBytes) as Uint8Array<ArrayBuffer>;
      unfilter(filtered[start]!, row, above, pixelBytes);
      write(row, columns, ((y + i * dy) * width + x) * 3, dx * 3);
      above = row;
    }
  }
  return { width, height, data };
}

/** Undoes a row's filter in place (PNG specification, section 9): each byte was stored less a prediction from left and above. */
function unfilter(type: number, row: Uint8Array, above: Uint8Array, pixelBytes: number): void {
  const n = row.length;
  if (type === 1) for (let i = pixelBytes; i < n; i++) row[i]! += row[i - pixelBytes]!;
  else if (type === 2) for (let i = 0; i < n; i++) row[i]! += above[i]!;
  else if (type === 3) {
    for (let i = 0; i < n; i++) row[i]! += ((i < pixelBytes ? 0 : row[i - pixelBytes]!) + above[i]!) >> 1;
  } else if (type === 4) {
    for (let i = 0; i < pixelBytes && i < n; i++) row[i]! += above[i]!;
    for (let i = pixelBytes; i < n; i++) row[i]! += paeth(row[i - pixelBytes]!, above[i]!, above[i - pixelBytes]!);
  } else if (type !== 0) throw badImage(`the PNG has a row with filter ${type}, there are 0 to 4`, DAMAGED);
}

/** Of left, above and above left the one nearest to left + above - above left; ties in this order. */
function paeth(left: number, above: number, corner: number): number {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/** Writes the pixels of an unfiltered row from `rgb[to]` on, each `step` bytes behind the one before. */
type RowWriter = (row: Uint8Array, columns: number, to: number, step: number) => void;

/**
 * Samples to bytes by Pillow's rules: grey of 1, 2 and 4 bits spreads over 0..255, grey of 16 bits saturates (mode I;16 in
 * `convert("RGB")`), other samples of 16 bits lose their low byte, alpha is left out.
 */
function rowWriter({ header, palette }: PngParts, rgb: Uint8Array): RowWriter {
  const { depth, colorType } = header;
  const channels = CHANNELS[colorType]!;
  const sample = sampler(header);
  if (palette) {
    return (row, columns, to, step) => {
      for (let i = 0; i < columns; i++, to += step) {
        const at = sample(row, i) * 3;
        if (at >= palette.length) throw badImage(`the PNG has a pixel of colour ${at / 3}, its palette has ${palette.length / 3}`, DAMAGED);
        for (let c = 0; c < 3; c++) rgb[to + c] = palette[at + c]!;
      }
    };
  }
  if (channels < 3) {
    const scale = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
    const shift = depth === 16 && colorType !== 0 ? 8 : 0;
    return (row, columns, to, step) => {
      for (let i = 0; i < columns; i++, to += step) rgb.fill(Math.min(255, (sample(row, i * channels) * scale) >> shift), to, to + 3);
    };
  }
  const bytes = depth / 8; // of a sample, the high one first
  return (row, columns, to, step) => {
    for (let i = 0, from = 0; i < columns; i++, from += channels * bytes, to += step) {
      rgb[to] = row[from]!;
      rgb[to + 1] = row[from + bytes]!;
      rgb[to + 2] = row[from + 2 * bytes]!;
    }
  };
}

/** Reads sample i of a row; samples of fewer than 8 bits are packed from the high bits down. */
function sampler({ depth }: PngHeader): (row: Uint8Array, i: number) => number {
  if (depth === 16) return (row, i) => (row[2 * i]! << 8) | row[2 * i + 1]!;
  if (depth === 8) return (row, i) => row[i]!;
  const mask = (1 << depth) - 1;
  return (row, i) => (row[(i * depth) >> 3]! >> (8 - depth - ((i * depth) & 7))) & mask;
}
