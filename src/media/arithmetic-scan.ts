import { ArithmeticDecoder, EVEN } from "./arithmetic.ts";
import type { JpegFrame } from "./jpeg-frame.ts";
import { isRestart } from "./jpeg-segments.ts";
import type { JpegScan } from "./jpeg-structure.ts";

/** The coefficients of a component. */
export interface Coefficients {
  columns: number; // blocks that show
  rows: number;
  stride: number; // blocks that are stored of a row: whole groups
  values: Int16Array; // [blocks, 64], in zigzag order
}

/** Room for the coefficients of each component. */
export function emptyCoefficients({ width, height, components }: JpegFrame): Coefficients[] {
  const [maxH, maxV] = [Math.max(...components.map(({ h }) => h)), Math.max(...components.map(({ v }) => v))];
  const [across, down] = [Math.ceil(width / (8 * maxH)), Math.ceil(height / (8 * maxV))];
  return components.map(({ h, v }) => ({
    columns: Math.ceil((width * h) / (8 * maxH)),
    rows: Math.ceil((height * v) / (8 * maxV)),
    stride: across * h,
    values: new Int16Array(across * h * down * v * 64),
  }));
}

/** What is known of a component's decisions, between two restarts. */
interface Statistics {
  dc: Uint8Array;
  ac: Uint8Array;
  last: number; // DC value
  context: number; // how the DC value before it changed: bins 0, 4, 8, 12 or 16
}

/** Reads an arithmetic-coded scan (ITU-T T.81, annexes F.2.4 and G.2.4) into the coefficients that came before it. */
export function readScan(frame: JpegFrame, scan: JpegScan, all: Coefficients[]): void {
  const blocks = blocksOf(frame, scan, all);
  let decoder = new ArithmeticDecoder(scan.data, 0);
  const fresh = (): Statistics[] => {
    // Components that name one table share what is known.
    const tables = new Map<number, Uint8Array>();
    const bins = (id: number): Uint8Array => {
      const found = tables.get(id) ?? new Uint8Array(256);
      tables.set(id, found);
      return found;
    };
    return scan.tables.map((ids) => ({ dc: bins(ids >> 4), ac: bins(16 | (ids & 15)), last: 0, context: 0 }));
  };
  let statistics = fresh();
  let left = scan.interval;
  for (const unit of blocks) {
    if (scan.interval > 0 && left-- === 0) {
      decoder = new ArithmeticDecoder(scan.data, behindRestart(scan.data, decoder.position));
      statistics = fresh();
      left = scan.interval - 1;
    }
    for (const { member, values } of unit) readBlock(decoder, frame, scan, statistics[member]!, scan.tables[member]!, values);
  }
}

function behindRestart(data: Uint8Array, from: number): number {
  for (let at = data.indexOf(0xff, from); at >= 0; at = data.indexOf(0xff, at + 1)) if (isRestart(data[at + 1] ?? 0)) return at + 2;
  return data.length;
}

/** The blocks of each unit of a scan: one, or where several components are interleaved a group of each. */
function* blocksOf(frame: JpegFrame, { components }: JpegScan, all: Coefficients[]): Generator<{ member: number; values: Int16Array }[]> {
  const block = (member: number, x: number, y: number) => {
    const { stride, values } = all[components[member]!]!;
    const at = (y * stride + x) * 64;
    return { member, values: values.subarray(at, at + 64) };
  };
  const only = all[components[0]!]!;
  const { h: firstH, v: firstV } = frame.components[components[0]!]!;
  const single = components.length === 1;
  const [across, down] = single ? [only.columns, only.rows] : [only.stride / firstH, only.values.length / 64 / only.stride / firstV];
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      if (single) yield [block(0, x, y)];
      else {
        yield components.flatMap((place, member) => {
          const { h, v } = frame.components[place]!;
          return Array.from({ length: h * v }, (_, i) => block(member, x * h + (i % h), y * v + Math.floor(i / h)));
        });
      }
    }
  }
}

const even = Uint8Array.of(EVEN);

function readBlock(decoder: ArithmeticDecoder, frame: JpegFrame, scan: JpegScan, known: Statistics, ids: number, block: Int16Array): void {
  const refines = frame.progressive && scan.high > 0;
  const low = frame.progressive ? scan.low : 0;
  if (!frame.progressive || scan.first === 0) {
    if (refines) block[0]! |= decoder.decide(even, 0) << low;
    else block[0] = readDc(decoder, known, scan.conditioning.get(ids >> 4) ?? 0x10) << low;
  }
  if (frame.progressive && scan.last === 0) return;
  const [first, last] = frame.progressive ? [Math.max(1, scan.first), scan.last] : [1, 63];
  if (refines) refineAc(decoder, known.ac, first, last, 1 << low, block);
  else readAc(decoder, known.ac, first, last, low, scan.conditioning.get(16 | (ids & 15)) ?? 5, block);
}

/** conditioning: the bounds of small changes, lower in the low 4 bits. */
function readDc(decoder: ArithmeticDecoder, known: Statistics, conditioning: number): number {
  const { dc, context } = known;
  known.context = 0;
  if (decoder.decide(dc, context) === 0) return known.last;
  const negative = decoder.decide(dc, context + 1);
  let at = context + 2 + negative;
  let size = decoder.decide(dc, at);
  if (size) for (at = 20; size < 0x4000 && decoder.decide(dc, at); at++) size *= 2;
  const [lower, upper] = [(1 << (conditioning & 15)) >> 1, (1 << (conditioning >> 4)) >> 1];
  if (size >= lower) known.context = (size > upper ? 12 : 4) + 4 * negative;
  const value = magnitude(decoder, dc, at + 14, size);
  known.last += negative ? -value : value;
  return known.last;
}

function readAc(
  decoder: ArithmeticDecoder,
  ac: Uint8Array,
  first: number,
  last: number,
  low: number,
  bound: number,
  block: Int16Array,
): void {
  for (let k = first; k <= last; k++) {
    if (decoder.decide(ac, 3 * (k - 1))) return; // the rest is zero
    while (decoder.decide(ac, 3 * (k - 1) + 1) === 0) if (++k > last) return; // damaged
    const negative = decoder.decide(even, 0);
    let at = 3 * (k - 1) + 2;
    let size = decoder.decide(ac, at);
    if (size && decoder.decide(ac, at)) {
      size = 2;
      for (at = k <= bound ? 189 : 217; size < 0x4000 && decoder.decide(ac, at); at++) size *= 2;
    }
    const value = magnitude(decoder, ac, at + 14, size) << low;
    block[k] = negative ? -value : value;
  }
}

/** size: the power of two below the value less one, or 0. */
function magnitude(decoder: ArithmeticDecoder, bins: Uint8Array, at: number, size: number): number {
  let value = size;
  for (let bit = size >> 1; bit > 0; bit >>= 1) if (decoder.decide(bins, at)) value |= bit;
  return value + 1;
}

function refineAc(decoder: ArithmeticDecoder, ac: Uint8Array, first: number, last: number, step: number, block: Int16Array): void {
  let known = last;
  while (known > 0 && block[known] === 0) known--;
  for (let k = first; k <= last; k++) {
    if (k > known && decoder.decide(ac, 3 * (k - 1))) return;
    for (; ; k++) {
      if (k > last) return; // damaged
      const at = 3 * (k - 1);
      const value = block[k]!;
      if (value !== 0) {
        if (decoder.decide(ac, at + 2)) block[k] = value + (value < 0 ? -step : step);
        break;
      }
      if (decoder.decide(ac, at + 1)) {
        block[k] = decoder.decide(even, 0) ? -step : step;
        break;
      }
    }
  }
}
