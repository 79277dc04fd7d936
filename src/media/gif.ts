import type { RgbImage } from "./image.ts";

/** The first frame of a GIF, as its blocks have it. */
interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  fill: readonly [number, number, number]; // what Pillow has around it
}

/**
 * A GIF that decoders show as Pillow does: nothing in its first frame is transparent, so that the colours of the palette stay. What lies around
 * that frame, where it is smaller than the picture, is for `fillAround`. A damaged file stays as it is: its decoder will say so.
 */
export function opaqueGif(bytes: Uint8Array): { file: Uint8Array; frame: Frame | undefined } {
  const file = bytes.slice();
  const at16 = (at: number) => (file[at] ?? 0) | ((file[at + 1] ?? 0) << 8);
  const paletteBytes = (packed: number) => (packed & 128 ? 3 * (2 << (packed & 7)) : 0);
  const own = paletteBytes(file[10] ?? 0);
  let transparent = 0;
  for (let at = 13 + own; at < file.length; ) {
    if (file[at] === 0x2c) {
      const local = paletteBytes(file[at + 9] ?? 0);
      const palette = local > 0 ? at + 10 : 13;
      const colour = (c: number) => (local + own > 0 ? (file[palette + 3 * transparent + c] ?? 0) : transparent); // grey without a palette
      const [left, top, width, height] = [1, 3, 5, 7].map((offset) => at16(at + offset)) as [number, number, number, number];
      return { file, frame: { left, top, width, height, fill: [colour(0), colour(1), colour(2)] } };
    }
    if (file[at] !== 0x21) break;
    if (file[at + 1] === 0xf9 && file[at + 3]! & 1) {
      transparent = file[at + 6] ?? 0;
      file[at + 3]! &= 0xfe;
    }
    at += 2;
    while (file[at]) at += file[at]! + 1; // sub-blocks
    at++;
  }
  return { file, frame: undefined };
}

/** Gives the pixels around a GIF's first frame their colour, in place. */
export function fillAround({ width, height, data }: RgbImage, { left, top, width: across, height: down, fill }: Frame): void {
  if (left === 0 && top === 0 && across >= width && down >= height) return;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) if (x < left || x >= left + across || y < top || y >= top + down) data.set(fill, to);
  }
}
