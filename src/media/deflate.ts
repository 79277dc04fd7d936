/** What one byte of a deflate stream can stand for at most: two bits for 258 bytes (RFC 1951: a length code and a distance code of one bit each). */
const MOST_PER_BYTE = 1032;

/**
 * Inflates a zlib stream of which it is known how many bytes it holds.
 *
 * Nothing can make it allocate without bound: a stream that cannot hold `size` bytes is refused before there is room for them, and one
 * that holds more is refused at the first byte too many. RFC 1950 (zlib, with its Adler-32) and RFC 1951 (deflate).
 *
 * @throws Error where the stream is damaged, cut off, or holds another number of bytes
 */
export function inflate(stream: Uint8Array, size: number): Uint8Array {
  const [method, flags] = [stream[0] ?? 0, stream[1] ?? 0];
  if ((method & 15) !== 8 || ((method << 8) | flags) % 31 !== 0 || flags & 32) throw new Error("not a zlib stream");
  if (stream.length * MOST_PER_BYTE < size) throw new Error(`${stream.length} compressed bytes cannot hold ${size}`);
  const reader: BitReader = { bytes: stream, position: 2, bits: 0, count: 0 };
  const out: Output = { bytes: new Uint8Array(size), length: 0 };
  for (let last = false; !last; ) {
    last = take(reader, 1) === 1;
    const type = take(reader, 2);
    if (type === 0) storedBlock(reader, out);
    else if (type === 1) codedBlock(reader, FIXED_LITERALS, FIXED_DISTANCES, out);
    else if (type === 2) codedBlock(reader, ...readTables(reader), out);
    else throw new Error("invalid deflate block type");
  }
  if (out.length < size) throw new Error(`they inflate to ${out.length} bytes, exactly ${size} are needed`);
  checkAdler32(reader, out.bytes);
  return out.bytes;
}

interface BitReader {
  bytes: Uint8Array;
  position: number; // next byte to read
  bits: number; // bits read from bytes and not yet taken, the next one lowest
  count: number; // how many
}

interface Output {
  bytes: Uint8Array;
  length: number; // written so far
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

const tooMany = ({ bytes }: Output): Error => new Error(`they inflate to more than ${bytes.length} bytes`);

function codedBlock(reader: BitReader, literals: CodeTable, distances: CodeTable, out: Output): void {
  const { bytes } = out;
  let to = out.length;
  for (;;) {
    const symbol = takeSymbol(reader, literals);
    if (symbol < 256) {
      if (to === bytes.length) throw tooMany(out);
      bytes[to++] = symbol;
      continue;
    }
    if (symbol === 256) break;
    const base = LENGTH_BASE[symbol - 257];
    if (base === undefined) throw new Error("invalid length code");
    const end = to + base + take(reader, LENGTH_EXTRA[symbol - 257]!);
    const code = takeSymbol(reader, distances);
    if (code > 29) throw new Error("invalid distance code");
    const extra = Math.max(0, (code >> 1) - 1);
    const distance = (code < 2 ? code : (2 + (code & 1)) << extra) + take(reader, extra) + 1;
    if (distance > to) throw new Error("invalid distance: before the first byte");
    if (end > bytes.length) throw tooMany(out);
    for (; to < end; to++) bytes[to] = bytes[to - distance]!; // one by one: what is copied may be what was just written
  }
  out.length = to;
}

function storedBlock(reader: BitReader, out: Output): void {
  take(reader, reader.count & 7); // to the byte boundary
  const length = take(reader, 16);
  if (take(reader, 16) !== (length ^ 0xffff)) throw new Error("invalid stored block length");
  const start = reader.position - (reader.count >> 3); // whole bytes that were read ahead are given back
  const end = start + length;
  if (end > reader.bytes.length) throw endsTooEarly();
  if (out.length + length > out.bytes.length) throw tooMany(out);
  out.bytes.set(reader.bytes.subarray(start, end), out.length);
  out.length += length;
  reader.position = end;
  reader.bits = reader.count = 0;
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
  if (reader.position - (reader.count >> 3) > reader.bytes.length) throw endsTooEarly();
}

const endsTooEarly = (): Error => new Error("compressed data ends too early");

/** The checksum behind the last block, most significant byte first. */
function checkAdler32(reader: BitReader, bytes: Uint8Array): void {
  take(reader, reader.count & 7);
  let stored = 0;
  for (let i = 0; i < 4; i++) stored = (stored << 8) | take(reader, 8);
  let [a, b] = [1, 0];
  for (let i = 0; i < bytes.length; ) {
    // 3800 bytes keep b below 2³¹, so that the engine can count in integers; the remainder is taken only then.
    for (const end = Math.min(i + 3800, bytes.length); i < end; i++) b += a += bytes[i]!;
    a %= 65521;
    b %= 65521;
  }
  if (((b << 16) | a) !== stored) throw new Error("the checksum (Adler-32) does not match");
}
