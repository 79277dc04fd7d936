import { badImage, DAMAGED } from "./image.ts";

/**
 * The Huffman tables of the JPEG specification (annex K.3), by class and id as DHT writes them: 0x00 and 0x01 for DC, 0x10 and 0x11 for AC,
 * of luminance and chrominance. Each is 16 counts of codes by length, then the symbols. Frames of Motion JPEG films leave them out.
 */
export const STANDARD_HUFFMAN: Readonly<Record<number, Uint8Array>> = {
  0: table("00010501010101010100000000000000000102030405060708090a0b"),
  1: table("00030101010101010101010000000000000102030405060708090a0b"),
  16: acTable("0002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282"),
  17: acTable("00020102040403040705040400010277000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f1"),
};

function table(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** A table of AC symbols (zeros << 4 | bits of the value, 1 to 10 of them): behind its frequent ones all that are left, in their order. */
function acTable(hex: string): Uint8Array {
  const begin = table(hex);
  const left = Array.from({ length: 256 }, (_, symbol) => symbol).filter(
    (symbol) => (symbol & 15) > 0 && (symbol & 15) <= 10 && !begin.includes(symbol, 16),
  );
  return Uint8Array.of(...begin, ...left);
}

/** The tables that have come so far. */
export interface Tables {
  huffman: Map<number, Uint8Array>; // by class and id: 16 counts of codes by length, then the symbols
  quantization: Map<number, number[]>; // by id, in zigzag order
}

/** Notes the tables of a DQT (DB) or DHT (C4) segment. @throws EngineError bad-image where they do not fill it, or are none */
export function noteTables(marker: number, payload: Uint8Array, tables: Tables): void {
  let offset = 0;
  while (offset < payload.length) {
    const head = payload[offset]!;
    if (marker === 0xdb) {
      const bytes = head >> 4 ? 2 : 1;
      const at = (i: number) => payload[offset + 1 + i] ?? 0;
      const steps = Array.from({ length: 64 }, (_, i) => (bytes === 2 ? (at(2 * i) << 8) | at(2 * i + 1) : at(i)));
      tables.quantization.set(head & 15, steps);
      offset += 1 + 64 * bytes;
      continue;
    }
    const counts = payload.subarray(offset + 1, offset + 17);
    const symbols = counts.reduce((sum, count) => sum + count, 0);
    checkCodes(head, counts, payload.subarray(offset + 17, offset + 17 + symbols));
    tables.huffman.set(head, payload.subarray(offset + 1, offset + 17 + symbols));
    offset += 17 + symbols;
  }
  if (offset !== payload.length)
    throw badImage(`the JPEG has a table segment of ${payload.length} bytes whose tables need ${offset}`, DAMAGED);
}

/** Codes of one length must leave room for longer ones, and DC symbols are numbers of bits. */
function checkCodes(head: number, counts: Uint8Array, symbols: Uint8Array): void {
  let code = 0;
  const fits = counts.every((count, i) => {
    code = 2 * code + count;
    return code <= 2 << i;
  });
  if (!fits || symbols.length > 256 || (head >> 4 === 0 && symbols.some((symbol) => symbol > 15)))
    throw badImage(`the JPEG's Huffman table ${head.toString(16)} holds no possible code`, DAMAGED);
}
