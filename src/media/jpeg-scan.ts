import { badImage, concat, DAMAGED } from "./image.ts";
import type { JpegFrame } from "./jpeg-frame.ts";
import { isRestart } from "./jpeg-segments.ts";

/** A scan header. */
export interface ScanHeader {
  components: number[]; // places in the frame's list
  tables: number[]; // of each: DC table << 4 | AC table
  first: number; // coefficients first..last in zigzag order
  last: number;
  high: number; // the bit at which the scan begins, and to which it refines
  low: number;
}

/** Reads a scan header. Ids that occur twice in a frame stand for its components in their order, as in libjpeg. @throws EngineError bad-image */
export function readScanHeader(frame: JpegFrame, payload: Uint8Array): ScanHeader {
  const count = payload[0] ?? 0;
  const components: number[] = [];
  for (let i = 0; i < count; i++) {
    components.push(frame.components.findIndex(({ id }, at) => id === payload[1 + 2 * i] && !components.includes(at)));
  }
  if (payload.length !== 4 + 2 * count || components.includes(-1) || count === 0)
    throw badImage("the JPEG has a scan header that does not fit its frame", DAMAGED);
  const [first = 0, last = 0, approximation = 0] = payload.subarray(1 + 2 * count);
  const [high, low] = [approximation >> 4, approximation & 15];
  const dcOnly = first === 0 && last === 0;
  if (frame.progressive && (last > 63 || first > last || low > 13 || (!dcOnly && (first === 0 || count !== 1)))) {
    throw badImage(`the JPEG has a progressive scan of the coefficients ${first}..${last}, which is not allowed`, DAMAGED);
  }
  return { components, tables: Array.from({ length: count }, (_, i) => payload[2 + 2 * i]!), first, last, high, low };
}

/** How many units a scan has: blocks of 8 x 8 where it has one component, groups of blocks of all components where it has several. */
export function unitsOf({ width, height, components }: JpegFrame, scan: ScanHeader): number {
  const [maxH, maxV] = [Math.max(...components.map(({ h }) => h)), Math.max(...components.map(({ v }) => v))];
  const { h, v } = scan.components.length === 1 ? components[scan.components[0]!]! : { h: 1, v: 1 };
  const [across, down] = [Math.ceil((width * h) / (8 * maxH)), Math.ceil((height * v) / (8 * maxV))];
  return across * down;
}

/** The data of a scan, and what was seen of its restart markers. */
export interface ScanData {
  /** The entropy-coded data without fill bytes and without a restart marker behind its last interval. */
  data: Uint8Array;
  restarts: number;
  /** The intervals are in order and complete: every one in its place, which is all that jpeg-js can read. */
  orderly: boolean;
}

/** Looks at the restart markers of a scan's data, of which `expected` are needed, and takes out what only libjpeg steps over. */
export function readScanData(data: Uint8Array, expected: number): ScanData {
  const kept: Uint8Array[] = [];
  let [restarts, from, orderly] = [0, 0, true];
  for (let at = data.indexOf(0xff); at >= 0; at = data.indexOf(0xff, at + 1)) {
    let marker = at + 1;
    while (data[marker] === 0xff) marker++;
    if (marker > at + 1) {
      kept.push(data.subarray(from, at)); // fill bytes: the last FF belongs to what follows
      from = at = marker - 1;
    }
    if (!isRestart(data[marker] ?? 0)) continue;
    if (restarts === expected && marker === data.length - 1) {
      return { data: concat([...kept, data.subarray(from, at)]), restarts, orderly };
    }
    orderly &&= (data[marker]! & 7) === (restarts & 7);
    restarts++;
  }
  return { data: concat([...kept, data.subarray(from)]), restarts, orderly: orderly && restarts === expected };
}
