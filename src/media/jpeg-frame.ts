import { badImage, DAMAGED } from "./image.ts";
import { segmentsOf } from "./jpeg-segments.ts";

/** One component of the frame, its sampling factors and its quantisation table. */
export interface JpegComponent {
  id: number;
  h: number;
  v: number;
  table: number;
}

/** What the frame header (SOF) says. */
export interface JpegFrame {
  width: number;
  height: number;
  progressive: boolean;
  arithmetic: boolean;
  components: JpegComponent[]; // 1 grey, 3 colour, 4 CMYK or YCCK
}

const SOF_NAMES: Record<number, string> = { 195: "lossless", 203: "lossless" };
/** Reads the file up to its frame header. */
export function readJpegFrame(bytes: Uint8Array): JpegFrame {
  for (const { marker, payload } of segmentsOf(bytes)) if (isFrame(marker)) return parseFrame(marker, payload);
  throw badImage("the JPEG has no frame header (SOF)", DAMAGED);
}

/** Reads a frame header (SOF). @throws EngineError bad-image */
export function parseFrame(marker: number, payload: Uint8Array): JpegFrame {
  if (marker > 0xc2 && marker !== 0xc9 && marker !== 0xca) {
    throw badImage(
      `the JPEG is ${SOF_NAMES[marker] ?? "hierarchical"} (SOF${marker - 0xc0}), baseline or progressive coding is needed`,
      "Export it again as an ordinary JPEG or PNG.",
    );
  }
  const count = payload[5] ?? 0;
  if (payload.length !== 6 + 3 * count)
    throw badImage(`the JPEG's frame header has ${payload.length} bytes, ${count} components need ${6 + 3 * count}`, DAMAGED);
  if (payload[0] !== 8)
    throw badImage(`the JPEG has ${payload[0]} bits a sample, 8 are needed`, "Export it again as an ordinary 8-bit JPEG or PNG.");
  if (![1, 3, 4].includes(count)) throw badImage(`the JPEG has ${count} components, 1, 3 or 4 are needed`, DAMAGED);
  const components = Array.from({ length: count }, (_, i) => {
    const [id, sampling, table] = payload.subarray(6 + 3 * i);
    return { id: id!, h: sampling! >> 4, v: sampling! & 15, table: table! };
  });
  if (components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4)) {
    throw badImage("the JPEG's frame header has a sampling factor outside 1..4", DAMAGED);
  }
  const [, h1, h0, w1, w0] = payload;
  const [progressive, arithmetic] = [(marker & 3) === 2, marker > 0xc8];
  return { height: (h1! << 8) | h0!, width: (w1! << 8) | w0!, progressive, arithmetic, components };
}

/** The frame header with components 1, 2, 3, …: files exist in which all have one name. */
export function namedApart(payload: Uint8Array): Uint8Array {
  const renamed = payload.slice();
  for (let i = 0; i < renamed[5]!; i++) renamed[6 + 3 * i] = i + 1;
  return renamed;
}

/** SOF0 … SOF15 share their numbers with DHT (C4), JPG (C8) and DAC (CC). */
export function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}
