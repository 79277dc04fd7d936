/** An adaptive binary arithmetic decoder as JPEG has it (ITU-T T.81, annex D). Reading past its end gives zeros. */
export class ArithmeticDecoder {
  readonly #bytes: Uint8Array;
  #at: number;
  #c = 0; // 16 bits of code, then those to come
  #a = 0x10000; // the interval
  #bits = 0; // to come that are there

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#c = ((this.#next() << 24) | (this.#next() << 16)) >>> 0;
  }

  /** Where the next byte is read: at a marker where one was met. */
  get position(): number {
    return this.#at;
  }

  #next(): number {
    const byte = this.#bytes[this.#at] ?? 0;
    if (byte !== 0xff) {
      this.#at++;
      return byte;
    }
    if (this.#bytes[this.#at + 1] !== 0) return 0; // a marker, which stays
    this.#at += 2;
    return 0xff;
  }

  /** The next decision. `bins[at]` is what is known of decisions of its kind: state, and 128 where 1 is the more probable one. */
  decide(bins: Uint8Array, at: number): number {
    const bin = bins[at]!;
    const state = bin & 127;
    const likely = bin >> 7;
    const size = SIZE[state]!; // of the less probable decision's interval
    this.#a -= size;
    const upper = this.#c >>> 16 >= this.#a; // the code lies in the upper part, which is the less probable one's
    if (!upper && this.#a >= 0x8000) return likely;
    // The parts change their roles where the less probable one's is the larger.
    const unlikely = upper !== this.#a < size;
    if (upper) {
      this.#c = (this.#c - this.#a * 0x10000) >>> 0;
      this.#a = size;
    }
    bins[at] = unlikely ? AFTER_LESS[state]! | ((likely ^ SWITCH[state]!) << 7) : AFTER_MORE[state]! | (likely << 7);
    do {
      if (this.#bits === 0) {
        this.#c += this.#next() << 8;
        this.#bits = 8;
      }
      this.#a *= 2;
      this.#c = (this.#c << 1) >>> 0;
      this.#bits--;
    } while (this.#a < 0x8000);
    return unlikely ? 1 - likely : likely;
  }
}

/** Table D.3 of T.81: of each state the less probable interval's size, the next state after that one and after the other, and a 1 where they change roles. */
const STATES = `5a1d 1 1 1 2586 14 2 0 1114 16 3 0 080b 18 4 0 03d8 20 5 0 01da 23 6 0 00e5 25 7 0 006f 28 8 0 0036 30 9 0 001a 33 10 0
000d 35 11 0 0006 9 12 0 0003 10 13 0 0001 12 13 0 5a7f 15 15 1 3f25 36 16 0 2cf2 38 17 0 207c 39 18 0 17b9 40 19 0 1182 42 20 0
0cef 43 21 0 09a1 45 22 0 072f 46 23 0 055c 48 24 0 0406 49 25 0 0303 51 26 0 0240 52 27 0 01b1 54 28 0 0144 56 29 0 00f5 57 30 0
00b7 59 31 0 008a 60 32 0 0068 62 33 0 004e 63 34 0 003b 32 35 0 002c 33 9 0 5ae1 37 37 1 484c 64 38 0 3a0d 65 39 0 2ef1 67 40 0
261f 68 41 0 1f33 69 42 0 19a8 70 43 0 1518 72 44 0 1177 73 45 0 0e74 74 46 0 0bfb 75 47 0 09f8 77 48 0 0861 78 49 0 0706 79 50 0
05cd 48 51 0 04de 50 52 0 040f 50 53 0 0363 51 54 0 02d4 52 55 0 025c 53 56 0 01f8 54 57 0 01a4 55 58 0 0160 56 59 0 0125 57 60 0
00f6 58 61 0 00cb 59 62 0 00ab 61 63 0 008f 61 32 0 5b12 65 65 1 4d04 80 66 0 412c 81 67 0 37d8 82 68 0 2fe8 83 69 0 293c 84 70 0
2379 86 71 0 1edf 87 72 0 1aa9 87 73 0 174e 72 74 0 1424 72 75 0 119c 74 76 0 0f6b 74 77 0 0d51 75 78 0 0bb6 77 79 0 0a40 77 48 0
5832 80 81 1 4d1c 88 82 0 438e 89 83 0 3bdd 90 84 0 34ee 91 85 0 2eae 92 86 0 299a 93 87 0 2516 86 71 0 5570 88 89 1 4ca9 95 90 0
44d9 96 91 0 3e22 97 92 0 3824 99 93 0 32b4 99 94 0 2e17 93 86 0 56a8 95 96 1 4f46 101 97 0 47e5 102 98 0 41cf 103 99 0 3c3d 104 100 0
375e 99 93 0 5231 105 102 0 4c0f 106 103 0 4639 107 104 0 415e 103 99 0 5627 105 106 1 50e7 108 107 0 4b85 109 103 0 5597 110 109 0
504f 111 107 0 5a10 110 111 1 5522 112 109 0 59eb 112 111 1 5a1d 113 113 0`.split(/\s+/);

const column = (i: number, base: number): number[] => STATES.filter((_, at) => at % 4 === i).map((text) => Number.parseInt(text, base));
const SIZE = column(0, 16);
const AFTER_LESS = column(1, 10);
const AFTER_MORE = column(2, 10);
const SWITCH = column(3, 10);

/** The state of decisions that are always even (the last of the table). */
export const EVEN = SIZE.length - 1;
