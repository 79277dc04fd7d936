import type { JpegFrame } from "./jpeg-frame.ts";
import { unitsOf } from "./jpeg-scan.ts";
import { isRestart } from "./jpeg-segments.ts";
import type { JpegScan } from "./jpeg-structure.ts";

/**
 * Whether a sequential scan is as an encoder writes it: every code known, 64 coefficients a block at most, all blocks there, nothing behind
 * them, and no sample so far out of range that decoders differ. Where it is not, data are damaged, and libjpeg and jpeg-js make different
 * pictures of them without either of them failing.
 */
export function isSound(frame: JpegFrame, scan: JpegScan): boolean {
  const single = scan.components.length === 1;
  const blocks = scan.components.flatMap((place, member) => {
    const { h, v, table } = frame.components[place]!;
    const ids = scan.tables[member]!;
    const block = {
      member,
      dc: lookup(scan.huffman.get(ids >> 4)!),
      ac: lookup(scan.huffman.get(16 | (ids & 15))!),
      steps: scan.quantization.get(table)!,
    };
    return Array.from({ length: single ? 1 : h * v }, () => block);
  });
  let left = unitsOf(frame, scan);
  for (const interval of intervalsOf(scan.data)) {
    const bits = new Bits(interval);
    const last = [0, 0, 0, 0]; // DC values
    for (let unit = scan.interval || left; unit > 0 && left > 0; unit--, left--) {
      for (const block of blocks) if (!walkBlock(bits, block, last)) return false;
    }
    if (bits.left < 0 || bits.left >= 8) return false;
  }
  return left === 0;
}

interface Block {
  member: number;
  dc: Uint16Array; // of the next 16 bits: symbol << 5 | length of its code, 0 where there is none
  ac: Uint16Array;
  steps: readonly number[]; // quantisation, in zigzag order
}

function walkBlock(bits: Bits, { member, dc, ac, steps }: Block, last: number[]): boolean {
  const first = bits.symbol(dc);
  if (first < 0) return false;
  last[member]! += bits.value(first);
  let energy = (last[member]! * steps[0]!) ** 2;
  for (let k = 1; k < 64; k++) {
    const symbol = bits.symbol(ac);
    if (symbol < 0) return false;
    const size = symbol & 15;
    if (size === 0 && symbol < 0xf0) break; // the rest is zero
    k += symbol >> 4;
    if (k > 63) return false;
    energy += (bits.value(size) * steps[k]!) ** 2;
  }
  // That of samples within -128..127 is at most 1024²; rounding adds some. Far beyond it libjpeg's table of samples ends, and wraps around.
  return energy < 2048 ** 2;
}

/** The data between restart markers, without stuffed bytes. */
function* intervalsOf(data: Uint8Array): Generator<Uint8Array> {
  const bytes = new Uint8Array(data.length);
  let length = 0;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at]!;
    if (byte === 0xff && isRestart(data[at + 1] ?? 0)) {
      yield bytes.subarray(0, length);
      length = 0;
      at++;
      continue;
    }
    bytes[length++] = byte;
    if (byte === 0xff) at++;
  }
  yield bytes.subarray(0, length);
}

class Bits {
  readonly #bytes: Uint8Array;
  #at = 0; // bits

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bits that are left; fewer than none where zeros were read beyond the end. */
  get left(): number {
    return this.#bytes.length * 8 - this.#at;
  }

  #peek(): number {
    const at = this.#at >> 3;
    const bytes = this.#bytes;
    return ((((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)) >> (8 - (this.#at & 7))) & 0xffff;
  }

  /** -1 where there is no such code. */
  symbol(table: Uint16Array): number {
    const entry = table[this.#peek()]!;
    this.#at += entry & 31;
    return entry === 0 || this.left < 0 ? -1 : entry >> 5;
  }

  /** A value of `size` bits, the lower half of which are the negative ones. */
  value(size: number): number {
    if (size === 0) return 0;
    const bits = this.#peek() >> (16 - size);
    this.#at += size;
    return bits < 1 << (size - 1) ? bits + 1 - (1 << size) : bits;
  }
}

function lookup(table: Uint8Array): Uint16Array {
  const entries = new Uint16Array(65536);
  let [at, to] = [16, 0];
  for (let length = 1; length <= 16; length++) {
    for (let i = 0; i < table[length - 1]!; i++, to += 1 << (16 - length)) {
      entries.fill((table[at++]! << 5) | length, to, to + (1 << (16 - length)));
    }
  }
  return entries;
}
