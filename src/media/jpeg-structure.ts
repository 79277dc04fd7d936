import { badImage, DAMAGED } from "./image.ts";

/** One component of the frame and its sampling factors. */
export interface JpegComponent {
  id: number;
  h: number;
  v: number;
}

/** What the frame header (SOF) says. */
export interface JpegFrame {
  width: number;
  height: number;
  progressive: boolean;
  components: JpegComponent[]; // 1 grey, 3 colour, 4 CMYK or YCCK
}

/** A JPEG file whose structure has been checked. */
export interface JpegParts {
  frame: JpegFrame;
  jfif: boolean;
  adobeTransform: number | undefined; // of the Adobe APP14 segment: 0 none, 1 YCbCr, 2 YCCK
  segments: Uint8Array[]; // tables, frame and scans with their entropy-coded data, in order, without APPn and comments
}

interface Segment {
  marker: number; // the byte after 0xFF
  payload: Uint8Array; // without marker and length
  whole: Uint8Array; // with both, and for a scan with its entropy-coded data
  restarts: number; // restart markers in that data
}

const SOF_NAMES: Record<number, string> = { 195: "lossless", 197: "hierarchical", 198: "hierarchical", 199: "hierarchical" };
/** Real progressive files have about ten. A file of many empty scans would keep the decoder busy for hours. */
const MAX_SCANS = 100;

/** Reads the file up to its frame header. */
export function readJpegFrame(bytes: Uint8Array): JpegFrame {
  for (const { marker, payload } of segmentsOf(bytes)) if (isFrame(marker)) return parseFrame(marker, payload);
  throw badImage("the JPEG has no frame header (SOF)", DAMAGED);
}

/**
 * Checks the whole structure: every segment inside the file and of a length that fits its contents, one frame, a scan for every
 * component with all its restart intervals, EOI at the end. jpeg-js checks little of this, and would leave blocks grey.
 * Bytes after EOI (thumbnails, motion photos) are left alone.
 */
export function readJpeg(bytes: Uint8Array): JpegParts {
  let frame: JpegFrame | undefined;
  let adobeTransform: number | undefined;
  let jfif = false;
  let interval = 0;
  let scans = 0;
  const segments: Uint8Array[] = [];
  const covered = new Set<number>(); // components whose DC coefficients have come
  for (const { marker, payload, whole, restarts } of segmentsOf(bytes)) {
    if (isFrame(marker)) {
      if (frame) throw badImage("the JPEG has two frames, one is needed", DAMAGED);
      frame = parseFrame(marker, payload);
    } else if (marker === 0xda) {
      if (!frame) throw badImage("the JPEG has a scan before its frame header", DAMAGED);
      if (++scans > MAX_SCANS) throw badImage(`the JPEG has more than ${MAX_SCANS} scans`, "Export it again as an ordinary JPEG or PNG.");
      const ids = checkScan(frame, payload, interval, restarts);
      if (payload[1 + 2 * ids.length] === 0) for (const id of ids) covered.add(id);
    } else if (marker === 0xdd) {
      if (payload.length !== 2) throw badImage(`the JPEG's restart interval has ${payload.length} bytes, it needs 2`, DAMAGED);
      interval = (payload[0]! << 8) | payload[1]!;
    } else if (marker === 0xdb || marker === 0xc4) {
      checkTables(marker, payload);
    } else if (isApplication(marker)) {
      if (marker === 0xe0 && startsWith(payload, "JFIF\0")) jfif = true;
      if (marker === 0xee && startsWith(payload, "Adobe") && payload.length >= 12) adobeTransform = payload[11];
      continue;
    } else {
      throw badImage(`the JPEG has an unknown marker FF ${marker.toString(16)}`, DAMAGED);
    }
    segments.push(whole);
  }
  const missing = frame?.components.filter(({ id }) => !covered.has(id)).length;
  if (!frame || missing) throw badImage(`the JPEG has no pixels for ${missing ?? "any"} of its components`, DAMAGED);
  return { frame, jfif, adobeTransform, segments };
}

/** The segments between SOI and EOI. Reaching the end of the file before EOI is an error. */
function* segmentsOf(bytes: Uint8Array): Generator<Segment> {
  const cut = () => badImage(`the JPEG ends at byte ${bytes.length} without an end marker (EOI): it is cut off`, DAMAGED);
  for (let offset = 2; ; ) {
    // Between segments there may be fill bytes (FF) and, in sloppy files, junk, which libjpeg skips too.
    while (offset + 1 < bytes.length && !(bytes[offset] === 0xff && bytes[offset + 1]! !== 0 && bytes[offset + 1]! < 0xff)) offset++;
    const marker = bytes[offset + 1];
    if (marker === undefined) throw cut();
    const start = offset;
    offset += 2;
    if (marker === 0xd9) return;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue; // stand-alone markers
    if (marker === 0xd8) throw badImage(`the JPEG begins anew at byte ${start}`, DAMAGED);
    if (offset + 2 > bytes.length) throw cut();
    const length = (bytes[offset]! << 8) | bytes[offset + 1]!;
    const end = offset + length;
    if (length < 2) throw badImage(`the JPEG's segment at byte ${start} declares ${length} bytes, at least 2 are needed`, DAMAGED);
    if (end > bytes.length) throw cut();
    const payload = bytes.subarray(offset + 2, end);
    offset = end;
    let restarts = 0;
    if (marker === 0xda) {
      // Entropy-coded data: FF is followed by 00 (a stuffed byte) or by a restart marker, else a segment begins.
      for (; ; offset++) {
        offset = bytes.indexOf(0xff, offset);
        if (offset < 0 || offset + 1 >= bytes.length) throw cut();
        const next = bytes[offset + 1]!;
        if (next >= 0xd0 && next <= 0xd7) restarts++;
        else if (next !== 0 && next !== 0xff) break;
      }
    }
    yield { marker, payload, whole: bytes.subarray(start, offset), restarts };
  }
}

function parseFrame(marker: number, payload: Uint8Array): JpegFrame {
  if (marker > 0xc2) {
    const kind = SOF_NAMES[marker] ?? "arithmetic-coded or hierarchical";
    throw badImage(
      `the JPEG is ${kind} (SOF${marker - 0xc0}), baseline or progressive Huffman coding is needed`,
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
    const [id, sampling] = payload.subarray(6 + 3 * i);
    return { id: id!, h: sampling! >> 4, v: sampling! & 15 };
  });
  if (components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4) || new Set(components.map(({ id }) => id)).size < count) {
    throw badImage("the JPEG's frame header has a repeated component or a sampling factor outside 1..4", DAMAGED);
  }
  const [, h1, h0, w1, w0] = payload;
  return { height: (h1! << 8) | h0!, width: (w1! << 8) | w0!, progressive: marker === 0xc2, components };
}

/** Checks a scan header and that no restart interval is missing; returns the ids of its components. */
function checkScan(frame: JpegFrame, payload: Uint8Array, interval: number, restarts: number): number[] {
  const count = payload[0] ?? 0;
  const ids = Array.from({ length: count }, (_, i) => payload[1 + 2 * i]!);
  const scanned = frame.components.filter(({ id }) => ids.includes(id));
  if (payload.length !== 4 + 2 * count || scanned.length !== count || count === 0)
    throw badImage("the JPEG has a scan header that does not fit its frame", DAMAGED);
  const [first, last, approximation] = payload.subarray(1 + 2 * count);
  const dcOnly = first === 0 && last === 0;
  const bits = approximation! & 15;
  if (frame.progressive && (last! > 63 || first! > last! || bits > 13 || (!dcOnly && (first === 0 || count !== 1)))) {
    throw badImage(`the JPEG has a progressive scan of the coefficients ${first}..${last}, which is not allowed`, DAMAGED);
  }
  const { width, height, components } = frame;
  const [maxH, maxV] = [Math.max(...components.map(({ h }) => h)), Math.max(...components.map(({ v }) => v))];
  // A scan of one component is counted in its own 8 x 8 blocks, others in groups of blocks of all components.
  const [unitH, unitV] = count === 1 ? [(8 * maxH) / scanned[0]!.h, (8 * maxV) / scanned[0]!.v] : [8 * maxH, 8 * maxV];
  const units = Math.ceil(width / unitH) * Math.ceil(height / unitV);
  const expected = interval > 0 ? Math.floor((units - 1) / interval) : 0;
  if (restarts !== expected)
    throw badImage(`the JPEG has a scan with ${restarts} restart markers, ${expected} are needed: data is missing`, DAMAGED);
  if (count === 1 && interval > 0 && units % interval !== 0) {
    // jpeg-js reads a whole interval beyond the last block there. Encoders that restart at each row of blocks never come here.
    throw badImage(
      `the JPEG has ${units} blocks in a scan of one component with a restart every ${interval}, which does not divide them; jpeg-js cannot read that`,
      "Export it again without restart markers, or as PNG.",
    );
  }
  return ids;
}

/** Quantisation (DQT) and Huffman (DHT) tables fill their segment exactly. */
function checkTables(marker: number, payload: Uint8Array): void {
  let offset = 0;
  while (offset < payload.length) {
    if (marker === 0xdb) offset += 1 + (payload[offset]! >> 4 ? 128 : 64);
    else offset += 17 + payload.subarray(offset + 1, offset + 17).reduce((sum, codes) => sum + codes, 0);
  }
  if (offset !== payload.length)
    throw badImage(`the JPEG has a table segment of ${payload.length} bytes whose tables need ${offset}`, DAMAGED);
}

/** SOF0 … SOF15 share their numbers with DHT (C4), JPG (C8) and DAC (CC). */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** APPn, comments and DNL: nothing that a pixel depends on. */
function isApplication(marker: number): boolean {
  return (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe || marker === 0xdc;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((letter, i) => bytes[i] === letter.charCodeAt(0));
}
