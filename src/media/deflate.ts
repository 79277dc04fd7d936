/**
 * How many bytes a zlib stream inflates to, found by walking its codes without producing any output.
 *
 * This guards the PNG decoder: pngjs inflates without any bound, so that a file of 1 MB can make it allocate gigabytes.
 * RFC 1950 (zlib) and RFC 1951 (deflate). The walk stops as soon as the count passes `limit`.
 */
export function inflatedLength(stream: Uint8Array, limit: number): number {
  const [method, flags] = [stream[0] ?? 0, stream[1] ?? 0];
  if ((method & 15) !== 8 || ((method << 8) | flags) % 31 !== 0 || flags & 32) throw new Error("not a zlib stream");
  const reader: BitReader = { bytes: stream, position: 2, bits: 0, count: 0 };
  let total = 0;
  let last = false;
  while (!last && total <= limit) {
    last = take(reader, 1) === 1;
    const type = take(reader, 2);
    if (type === 0) total += storedBlock(reader);
    else if (type === 1) total = codedBlock(reader, FIXED_LITERALS, FIXED_DISTANCES, total, limit);
    else if (type === 2) total = codedBlock(reader, ...readTables(reader), total, limit);
    else throw new Error("invalid deflate block type");
  }
  return total;
}

interface BitReader {
  bytes: Uint8Array;
  position: number; // next byte to read
  bits: number; // bits read from bytes and not yet taken, the next one lowest
  count: number; // how many
}

/** A prefix code as a table over the next `width` bits: symbol << 4 | code length, 0 where no code leads. */
interface CodeTable {
  width: number;
  entries: Uint16Array;
}

const LENGTH_BASE = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const FIXED_LITERALS = codeTable(Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)));
const FIXED_DISTANCES = codeTable(new Uint8Array(30).fill(5));

function codedBlock(reader: BitReader, literals: CodeTable, distances: CodeTable, start: number, limit: number): number {
  let total = start;
  while (total <= limit) {
    const symbol = takeSymbol(reader, literals);
    if (symbol < 256) total++;
    else if (symbol === 256) break;
    else {
      const base = LENGTH_BASE[symbol - 257];
      if (base === undefined) throw new Error("invalid length code");
      total += base + take(reader, LENGTH_EXTRA[symbol - 257]!);
      const distance = takeSymbol(reader, distances);
      if (distance > 29) throw new Error("invalid distance code");
      take(reader, Math.max(0, (distance >> 1) - 1)); // how far back is the decoder's business
    }
  }
  return total;
}

function storedBlock(reader: BitReader): number {
  take(reader, reader.count & 7); // to the byte boundary
  const length = take(reader, 16);
  if (take(reader, 16) !== (length ^ 0xffff)) throw new Error("invalid stored block length");
  reader.position += length - (reader.count >> 3); // give back whole bytes read ahead
  reader.bits = reader.count = 0;
  if (reader.position > reader.bytes.length) throw new Error("compressed data ends too early");
  return length;
}

function readTables(reader: BitReader): [CodeTable, CodeTable] {
  const [literals, distances, codes] = [take(reader, 5) + 257, take(reader, 5) + 1, take(reader, 4) + 4];
  const codeLengths = new Uint8Array(19);
  for (let i = 0; i < codes; i++) codeLengths[CODE_LENGTH_ORDER[i]!] = take(reader, 3);
  const table = codeTable(codeLengths);
  const lengths = new Uint8Array(literals + distances);
  for (let i = 0; i < lengths.length; ) {
    const symbol = takeSymbol(reader, table);
    if (symbol < 16) {
      lengths[i++] = symbol;
      continue;
    }
    if (symbol === 16 && i === 0) throw new Error("invalid code length repeat");
    const value = symbol === 16 ? lengths[i - 1]! : 0;
    const repeat = symbol === 16 ? 3 + take(reader, 2) : symbol === 17 ? 3 + take(reader, 3) : 11 + take(reader, 7);
    if (i + repeat > lengths.length) throw new Error("invalid code length repeat");
    lengths.fill(value, i, (i += repeat));
  }
  return [codeTable(lengths.subarray(0, literals)), codeTable(lengths.subarray(literals))];
}

/** Canonical Huffman codes; deflate sends a code's first bit first, so table indices are bit-reversed codes. */
function codeTable(lengths: Uint8Array): CodeTable {
  const width = lengths.reduce((a, b) => Math.max(a, b), 1);
  const entries = new Uint16Array(1 << width);
  let code = 0;
  for (let length = 1; length <= width; length++, code <<= 1) {
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] !== length) continue;
      if (code >> length) throw new Error("over-subscribed prefix code");
      let reversed = 0;
      for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
      for (let i = reversed; i < entries.length; i += 1 << length) entries[i] = (symbol << 4) | length;
      code++;
    }
  }
  return { width, entries };
}

function takeSymbol(reader: BitReader, table: CodeTable): number {
  fill(reader, table.width);
  const entry = table.entries[reader.bits & ((1 << table.width) - 1)]!;
  const length = entry & 15;
  if (length === 0) throw new Error("invalid prefix code");
  drop(reader, length);
  return entry >> 4;
}

function take(reader: BitReader, count: number): number {
  fill(reader, count);
  const value = reader.bits & ((1 << count) - 1);
  drop(reader, count);
  return value;
}

/** Looks up to 16 bits ahead. Past the end there are zeros, which may be looked at but not taken. */
function fill(reader: BitReader, count: number): void {
  while (reader.count < count) {
    reader.bits |= (reader.bytes[reader.position] ?? 0) << reader.count;
    reader.position++;
    reader.count += 8;
  }
}

function drop(reader: BitReader, count: number): void {
  reader.bits >>>= count;
  reader.count -= count;
  if (reader.position - (reader.count >> 3) > reader.bytes.length) throw new Error("compressed data ends too early");
}
