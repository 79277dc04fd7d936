import { type Coefficients, emptyCoefficients, readScan } from "./arithmetic-scan.ts";
import { concat } from "./image.ts";
import { segment } from "./jpeg-segments.ts";
import type { JpegParts } from "./jpeg-structure.ts";
import { STANDARD_HUFFMAN } from "./jpeg-tables.ts";

/**
 * A JPEG that both decoders take in place of an arithmetic-coded one, which neither knows: the same coefficients in Huffman's code with the
 * standard tables, a scan for each component. Other JPEGs stay as they are.
 */
export function huffmanCoded(parts: JpegParts): JpegParts {
  const { frame } = parts;
  if (!frame.arithmetic) return parts;
  const coefficients = emptyCoefficients(frame);
  for (const scan of parts.scans) readScan(frame, scan, coefficients);
  const kept = parts.segments.filter(([ff, marker]) => ff === 0xff && marker === 0xdb);
  const header = parts.segments.find(([ff, marker]) => ff === 0xff && (marker === 0xc9 || marker === 0xca))!.slice();
  header[1] = 0xc0;
  const tables = [0, 16].map((id) => segment(0xc4, [id, ...STANDARD_HUFFMAN[id]!]));
  const scans = coefficients.flatMap((each, i) => [segment(0xda, [1, i + 1, 0, 0, 63, 0]), encode(each)]);
  return {
    ...parts,
    frame: { ...frame, arithmetic: false, progressive: false },
    segments: [...kept, header, ...tables, ...scans],
    scans: [],
    orderly: true,
  };
}

const codes = (id: number): Map<number, [code: number, length: number]> => {
  const table = STANDARD_HUFFMAN[id]!;
  const found = new Map<number, [number, number]>();
  let [code, at] = [0, 16];
  for (let length = 1; length <= 16; length++, code <<= 1) {
    for (let i = 0; i < table[length - 1]!; i++) found.set(table[at++]!, [code++, length]);
  }
  return found;
};

/** The entropy-coded data of a component's blocks. Values beyond what 8 bits a sample can have are held within. */
function encode({ columns, rows, stride, values }: Coefficients): Uint8Array {
  const [dc, ac] = [codes(0), codes(16)];
  const writer = new BitWriter();
  const put = (table: typeof dc, run: number, value: number): void => {
    const size = 32 - Math.clz32(Math.abs(value));
    const [code, length] = table.get((run << 4) | size)!;
    writer.put(code, length);
    writer.put(value < 0 ? value - 1 : value, size);
  };
  let last = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const start = (y * stride + x) * 64;
      const change = Math.max(-2047, Math.min(2047, values[start]! - last));
      put(dc, 0, change);
      last += change;
      let run = 0;
      for (let k = 1; k < 64; k++) {
        const value = Math.max(-1023, Math.min(1023, values[start + k]!));
        if (value === 0) {
          run++;
          continue;
        }
        for (; run > 15; run -= 16) writer.put(...ac.get(0xf0)!);
        put(ac, run, value);
        run = 0;
      }
      if (run > 0) put(ac, 0, 0);
    }
  }
  return writer.finish();
}

class BitWriter {
  readonly #full: Uint8Array[] = [];
  #bytes = new Uint8Array(65536);
  #length = 0;
  #bits = 0;
  #count = 0;

  /** The low `length` bits, 16 at most. */
  put(bits: number, length: number): void {
    this.#bits = (this.#bits << length) | (bits & ((1 << length) - 1));
    this.#count += length;
    while (this.#count >= 8) {
      this.#count -= 8;
      this.#byte((this.#bits >> this.#count) & 255);
    }
  }

  #byte(byte: number): void {
    if (this.#length + 2 > this.#bytes.length) {
      this.#full.push(this.#bytes.subarray(0, this.#length));
      this.#bytes = new Uint8Array(65536);
      this.#length = 0;
    }
    this.#bytes[this.#length++] = byte;
    if (byte === 0xff) this.#bytes[this.#length++] = 0;
  }

  finish(): Uint8Array {
    if (this.#count > 0) this.put(127, 8 - this.#count);
    return concat([...this.#full, this.#bytes.subarray(0, this.#length)]);
  }
}
