import { badImage, DAMAGED } from "./image.ts";

/** What IHDR says. */
export interface PngHeader {
  width: number;
  height: number;
  depth: number; // 1, 2, 4, 8 or 16 bits a sample
  colorType: number; // 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha
  interlaced: boolean;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };

/** Reads IHDR, which must be the first chunk. */
export function readPngHeader(bytes: Uint8Array): PngHeader {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) {
    throw badImage("the PNG signature is damaged (a transfer in text mode does that) or cut off", DAMAGED);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33) throw badImage(`the PNG has ${bytes.length} bytes, its header alone needs 33`, DAMAGED);
  if (chunkName(bytes, 8) !== "IHDR" || view.getUint32(8) !== 13)
    throw badImage("the PNG does not begin with an IHDR chunk of 13 bytes", DAMAGED);
  const [depth, colorType, compression, filter, interlace] = bytes.subarray(24, 29);
  const header = {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: depth!,
    colorType: colorType!,
    interlaced: interlace === 1,
  };
  if (!DEPTHS[header.colorType]?.includes(header.depth) || compression !== 0 || filter !== 0 || interlace! > 1) {
    throw badImage(
      `the PNG declares colour type ${colorType}, ${depth} bits, compression ${compression}, filter ${filter}, interlace ${interlace}, which PNG does not define`,
      DAMAGED,
    );
  }
  return header;
}

/** The name of the chunk that begins there. */
export function chunkName(bytes: Uint8Array, offset: number): string {
  return String.fromCharCode(...bytes.subarray(offset + 4, offset + 8));
}
