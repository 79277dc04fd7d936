import { badImage, cutOff, DAMAGED } from "./image.ts";

/** A marker segment. */
export interface Segment {
  marker: number; // the byte after 0xFF
  payload: Uint8Array; // without marker and length
  data: Uint8Array; // behind a scan header: its entropy-coded data
  open: boolean; // that data runs to the end of the file, no marker ends it
}

const NONE = new Uint8Array(0);

/**
 * The segments from SOI to EOI, one after the other: what lies behind one is looked at when the next is asked for.
 * @throws EngineError bad-image where there is neither a segment nor EOI
 */
export function* segmentsOf(bytes: Uint8Array): Generator<Segment> {
  const cut = () => cutOff(`the JPEG ends at byte ${bytes.length} without an end marker (EOI)`);
  for (let offset = 2; ; ) {
    // Between segments there may be fill bytes (FF) and, in sloppy files, junk, which libjpeg skips too.
    while (offset + 1 < bytes.length && !(bytes[offset] === 0xff && bytes[offset + 1]! !== 0 && bytes[offset + 1]! < 0xff)) offset++;
    const marker = bytes[offset + 1];
    if (marker === undefined) throw cut();
    const start = offset;
    offset += 2;
    if (marker === 0xd9) return;
    if (marker === 0x01 || isRestart(marker)) continue; // stand-alone markers
    if (marker === 0xd8) throw badImage(`the JPEG begins anew at byte ${start}`, DAMAGED);
    if (offset + 2 > bytes.length) throw cut();
    const length = (bytes[offset]! << 8) | bytes[offset + 1]!;
    const end = offset + length;
    if (length < 2) throw badImage(`the JPEG's segment at byte ${start} declares ${length} bytes, at least 2 are needed`, DAMAGED);
    if (end > bytes.length) throw cut();
    const payload = bytes.subarray(offset + 2, end);
    offset = end;
    if (marker !== 0xda) {
      yield { marker, payload, data: NONE, open: false };
      continue;
    }
    offset = endOfData(bytes, end);
    yield { marker, payload, data: bytes.subarray(end, offset), open: offset === bytes.length };
  }
}

/** Where entropy-coded data ends. In it FF is followed by 00 (a stuffed byte), by more FF (fill bytes) or by a restart marker, else a segment begins. */
function endOfData(bytes: Uint8Array, start: number): number {
  for (let offset = start; ; offset++) {
    offset = bytes.indexOf(0xff, offset);
    if (offset < 0 || offset + 1 >= bytes.length) return bytes.length;
    const next = bytes[offset + 1]!;
    if (next !== 0 && next !== 0xff && !isRestart(next)) return offset;
  }
}

/** RST0 … RST7, which stand between the intervals of a scan. */
export const isRestart = (marker: number): boolean => marker >= 0xd0 && marker <= 0xd7;

/** A segment with its marker and length, as a file holds it. */
export function segment(marker: number, payload: ArrayLike<number>): Uint8Array {
  const length = payload.length + 2;
  const whole = new Uint8Array(length + 2);
  whole.set([0xff, marker, length >> 8, length & 255]);
  whole.set(payload, 4);
  return whole;
}
