import { badImage, cutOff, DAMAGED, type ImageLimits } from "./image.ts";
import { isFrame, type JpegFrame, namedApart, parseFrame } from "./jpeg-frame.ts";
import { readScanData, readScanHeader, type ScanHeader, unitsOf } from "./jpeg-scan.ts";
import { type Segment, segment, segmentsOf } from "./jpeg-segments.ts";
import { noteTables, STANDARD_HUFFMAN, type Tables } from "./jpeg-tables.ts";

/** A scan as the file has it. */
export interface JpegScan extends ScanHeader, Tables {
  interval: number; // units between restart markers, 0 without
  conditioning: Map<number, number>; // of arithmetic coding, by class and id as DAC writes them
  data: Uint8Array; // entropy-coded
}

/** A JPEG file whose structure has been checked, and mended where a decoder needs it. */
export interface JpegParts {
  frame: JpegFrame;
  jfif: boolean;
  adobeTransform: number | undefined; // of the Adobe APP14 segment: 0 none, 1 YCbCr, 2 YCCK
  segments: Uint8Array[]; // tables, frame and scans with their entropy-coded data, in order, without APPn and comments
  scans: JpegScan[];
  /** Every interval of every scan is in its place. Where not, libjpeg finds its way and jpeg-js does not. See also `isSound`. */
  orderly: boolean;
  /** Nothing says that the last scan has come to its end: only its decoder can tell. */
  open: boolean;
}

/** Real progressive files have about ten. A file of many empty scans would keep the decoder busy for hours. */
const MAX_SCANS = 100;

/**
 * Checks the whole structure: every segment inside the file and of a length that fits its contents, one frame, the tables that scans
 * name, a scan for every component. jpeg-js checks little of this. What libjpeg, and so Pillow, takes in its stride is mended: no Huffman
 * tables (the standard ones), no EOI, fill bytes, a restart marker too many, components of one name. The bytes behind the last scan that a
 * sequential picture needs (thumbnails, motion photos, other segments) are left alone.
 *
 * @throws EngineError bad-image
 */
export function readJpeg(bytes: Uint8Array, { allowTruncated = false }: ImageLimits = {}): JpegParts {
  const reader = new Reader();
  try {
    for (const each of segmentsOf(bytes)) {
      reader.take(each);
      if (reader.complete) break;
    }
  } catch (error) {
    if (!allowTruncated || reader.parts.scans.length === 0) throw error;
    reader.parts.orderly = false;
  }
  return reader.finish(allowTruncated);
}

class Reader {
  readonly parts: Omit<JpegParts, "frame"> = {
    jfif: false,
    adobeTransform: undefined,
    segments: [],
    scans: [],
    orderly: true,
    open: false,
  };
  #frame: JpegFrame | undefined;
  #interval = 0;
  readonly #conditioning = new Map<number, number>();
  readonly #tables: Tables = { huffman: new Map(), quantization: new Map() };
  readonly #covered = new Set<number>(); // components whose DC coefficients have come

  /** A sequential picture has all its pixels; a progressive one gets better until EOI. */
  get complete(): boolean {
    return this.#frame?.progressive === false && this.#covered.size === this.#frame.components.length;
  }

  take(each: Segment): void {
    const { parts } = this;
    const { marker, payload } = each;
    if (isFrame(marker)) {
      if (this.#frame) throw badImage("the JPEG has two frames, one is needed", DAMAGED);
      this.#frame = parseFrame(marker, payload);
      parts.segments.push(segment(marker, namedApart(payload)));
      return;
    }
    if (marker === 0xda) {
      this.#takeScan(each);
      return;
    }
    if (isApplication(marker)) {
      if (marker === 0xe0 && startsWith(payload, "JFIF\0")) parts.jfif = true;
      if (marker === 0xee && startsWith(payload, "Adobe") && payload.length >= 12) parts.adobeTransform = payload[11];
      return;
    }
    if (marker === 0xdd) {
      if (payload.length !== 2) throw badImage(`the JPEG's restart interval has ${payload.length} bytes, it needs 2`, DAMAGED);
      this.#interval = (payload[0]! << 8) | payload[1]!;
    } else if (marker === 0xdb || marker === 0xc4) noteTables(marker, payload, this.#tables);
    else if (marker === 0xcc) for (let i = 0; i + 1 < payload.length; i += 2) this.#conditioning.set(payload[i]!, payload[i + 1]!);
    else throw badImage(`the JPEG has an unknown marker FF ${marker.toString(16)}`, DAMAGED);
    parts.segments.push(segment(marker, payload));
  }

  #takeScan({ payload, data, open }: Segment): void {
    const { parts } = this;
    const frame = this.#frame;
    if (!frame) throw badImage("the JPEG has a scan before its frame header", DAMAGED);
    if (parts.scans.length === MAX_SCANS) {
      throw badImage(`the JPEG has more than ${MAX_SCANS} scans`, "Export it again as an ordinary JPEG or PNG.");
    }
    const scan = readScanHeader(frame, payload);
    this.#checkTables(frame, scan);
    const units = unitsOf(frame, scan);
    const interval = this.#interval;
    const read = readScanData(data, interval > 0 ? Math.floor((units - 1) / interval) : 0);
    // jpeg-js reads a whole interval beyond the last block of a scan of one component.
    const whole = scan.components.length > 1 || interval === 0 || units % interval === 0;
    parts.orderly &&= read.orderly && whole;
    parts.open = open;
    const header = payload.slice();
    scan.components.forEach((at, i) => {
      header[1 + 2 * i] = at + 1;
    });
    parts.segments.push(segment(0xda, header), read.data);
    const tables = { huffman: new Map(this.#tables.huffman), quantization: new Map(this.#tables.quantization) };
    parts.scans.push({ ...scan, ...tables, interval, conditioning: new Map(this.#conditioning), data: read.data });
    if (scan.first === 0 || !frame.progressive) for (const at of scan.components) this.#covered.add(at);
  }

  /** The tables that a scan names must be there. Sequential frames without Huffman tables mean the standard ones. */
  #checkTables(frame: JpegFrame, scan: ScanHeader): void {
    const { huffman, quantization } = this.#tables;
    const missing = scan.components.find((at) => !quantization.has(frame.components[at]!.table));
    if (missing !== undefined)
      throw badImage(`the JPEG has no quantisation table ${frame.components[missing]!.table}, which its pixels need`, DAMAGED);
    if (frame.arithmetic) return;
    for (const ids of scan.tables) {
      const dc = ids >> 4;
      const ac = 16 | (ids & 15);
      const needed = frame.progressive ? (scan.first > 0 ? [ac] : scan.high === 0 ? [dc] : []) : [dc, ac];
      for (const id of needed) {
        if (huffman.has(id)) continue;
        const standard = STANDARD_HUFFMAN[id];
        if (frame.progressive || !standard)
          throw badImage(`the JPEG has no Huffman table ${id.toString(16)}, which its pixels need`, DAMAGED);
        huffman.set(id, standard);
        this.parts.segments.push(segment(0xc4, [id, ...standard]));
      }
    }
  }

  finish(allowTruncated: boolean): JpegParts {
    const frame = this.#frame;
    const { parts } = this;
    const missing = frame ? frame.components.length - this.#covered.size : "any";
    if (!frame || parts.scans.length === 0 || (missing !== 0 && !allowTruncated))
      throw badImage(`the JPEG has no pixels for ${missing} of its components`, DAMAGED);
    // An arithmetic decoder never notices that it has come to the end.
    if (frame.arithmetic && parts.open && !allowTruncated) throw cutOff("the JPEG ends without an end marker (EOI)");
    return { frame, ...parts };
  }
}

/** APPn, comments and DNL: nothing that a pixel depends on. */
function isApplication(marker: number): boolean {
  return (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe || marker === 0xdc;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((letter, i) => bytes[i] === letter.charCodeAt(0));
}
