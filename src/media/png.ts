import { badImage, cutOff, DAMAGED, type ImageLimits, type RgbImage } from "./image.ts";
import { inflate, soundBut } from "./inflate.ts";
import type { PngHeader } from "./png-header.ts";
import { CHANNELS, filteredLength, type Pass, type PngParts, passesOf, readPng } from "./png-structure.ts";

/** What one byte of a deflate stream can stand for at most: two bits for 258 bytes (RFC 1951: a length code and a distance code of one bit each). */
const MOST_PER_BYTE = 1032;

/**
 * Decodes a PNG to RGB by Pillow's rules (see `rowWriter`); transparency is left out. The caller has checked the declared size.
 *
 * Rows are taken from the inflated stream one by one as they come, so that memory holds the RGB picture and little else. A stream that
 * cannot hold the rows is refused before there is room for them, and what it holds beyond them is left in it.
 *
 * Why no library: pngjs is 79 KiB of the page's bundle (gzip), inflates without a bound and in Node hands out uninitialised memory for cut
 * data; fast-png 8.0.0 takes pixels with a wrong Adler-32 and misreads interlaced pictures of fewer than 8 bits.
 *
 * @throws EngineError bad-image
 */
export async function decodePng(bytes: Uint8Array, { allowTruncated = false }: ImageLimits = {}): Promise<RgbImage> {
  const parts = readPng(bytes);
  const { width, height } = parts.header;
  const needed = filteredLength(parts.header);
  const compressed = parts.idat.reduce((sum, piece) => sum + piece.length, 0);
  if (compressed * MOST_PER_BYTE < needed && !allowTruncated)
    throw cutOff(`the PNG's ${compressed} compressed bytes cannot hold the ${needed} that its pixels need`);
  let rows = new Rows(parts, allowTruncated);
  let { failure, closeFrom } = await inflate(parts.idat, (inflated) => rows.take(inflated));
  if (closeFrom !== undefined && !rows.complete) {
    rows = new Rows(parts, allowTruncated);
    ({ failure } = await inflate(parts.idat, (inflated) => rows.take(inflated), closeFrom));
  }
  if (!rows.complete && !allowTruncated) {
    const has = `they inflate to ${rows.taken} bytes, exactly ${needed} are needed`;
    throw cutOff(`the PNG's compressed pixels are damaged or incomplete: ${has}`, failure);
  }
  if (failure && rows.complete && !allowTruncated && !(await soundBut(parts.idat, needed, closeFrom)))
    throw badImage("the PNG's compressed pixels are damaged: their checksum (Adler-32) does not match", DAMAGED, failure);
  return { width, height, data: rows.rgb };
}

/** Makes pixels of the filtered rows of each pass in turn: each a byte that names its filter, then packed samples. */
class Rows {
  readonly rgb: Uint8Array; // [height, width, 3]
  taken = 0; // bytes
  readonly #width: number;
  readonly #write: RowWriter;
  readonly #pixelBytes: number;
  readonly #passes: Pass[];
  #pass = 0;
  #row = 0; // of the pass
  #current: Uint8Array;
  #above: Uint8Array;
  #filled = 0; // bytes of the current row

  constructor(parts: PngParts, mayEndEarly: boolean) {
    const { width, height, colorType, depth } = parts.header;
    this.rgb = new Uint8Array(width * height * 3);
    // What does not come is black, or the palette's first colour.
    const first = parts.palette?.subarray(0, 3);
    if (mayEndEarly && first?.some(Boolean)) for (let i = 0; i < this.rgb.length; i++) this.rgb[i] = first[i % 3]!;
    this.#width = width;
    this.#write = rowWriter(parts, this.rgb);
    this.#pixelBytes = Math.max(1, (CHANNELS[colorType]! * depth) / 8);
    this.#passes = passesOf(parts.header);
    const { rowBytes } = this.#passes[0]!;
    this.#current = new Uint8Array(1 + rowBytes);
    this.#above = new Uint8Array(1 + rowBytes);
  }

  get complete(): boolean {
    return this.#pass === this.#passes.length;
  }

  /** False: there are more bytes than the picture needs. */
  take(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length; ) {
      if (this.complete) return false;
      const count = Math.min(bytes.length - at, this.#current.length - this.#filled);
      this.#current.set(bytes.subarray(at, at + count), this.#filled);
      at += count;
      this.taken += count;
      this.#filled += count;
      if (this.#filled === this.#current.length) this.#finishRow();
    }
    return true;
  }

  #finishRow(): void {
    const { x, y, dx, dy, columns, rows } = this.#passes[this.#pass]!;
    const row = this.#current.subarray(1);
    unfilter(this.#current[0]!, row, this.#above.subarray(1), this.#pixelBytes);
    this.#write(row, columns, ((y + this.#row * dy) * this.#width + x) * 3, dx * 3);
    this.#filled = 0;
    if (++this.#row < rows) {
      [this.#current, this.#above] = [this.#above, this.#current];
      return;
    }
    this.#row = 0;
    const next = this.#passes[++this.#pass];
    this.#current = new Uint8Array(1 + (next?.rowBytes ?? 0));
    this.#above = new Uint8Array(this.#current.length);
  }
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
    // Colours that the palette does not have are the greys that Pillow's palettes begin with.
    const colours = Uint8Array.from({ length: 768 }, (_, i) => palette[i] ?? Math.trunc(i / 3));
    return (row, columns, to, step) => {
      for (let i = 0; i < columns; i++, to += step) {
        const at = sample(row, i) * 3;
        rgb[to] = colours[at]!;
        rgb[to + 1] = colours[at + 1]!;
        rgb[to + 2] = colours[at + 2]!;
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
