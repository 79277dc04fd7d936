import { AWQ_GROUP, GROUP, widenHalf } from "../tensor/tensor.ts";

/** A Linear [out, inner] as AWQ packs it (gemm, 4 bits, zero points); shaders/lib/awq.wgsl has the layout. */
export interface AwqPacked {
  out: number;
  inner: number;
  /** [inner, out / 8], of nibbles. */
  words: Uint32Array;
  /** [inner / 128, out / 8], of nibbles. */
  zeros: Uint32Array;
  /** f16 bits [inner / 128, out]. */
  scales: Uint16Array;
}

/** Nibble i of a word is the column ORDER[i] of its eight. */
const ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

/** q - z and the scale's bits of every element of some rows, along K. */
function* elements({ out, inner, words, zeros, scales }: AwqPacked, first: number, rows: number) {
  for (let row = first; row < first + rows; row++) {
    const column = row >> 3;
    const shift = 4 * ORDER.indexOf(row & 7);
    for (let k = 0; k < inner; k++) {
      const group = Math.floor(k / AWQ_GROUP);
      const nibble = (all: Uint32Array, at: number) => (all[(at * out) / 8 + column]! >>> shift) & 15;
      yield { code: nibble(words, k) - nibble(zeros, group), scale: scales[group * out + row]! };
    }
  }
}

/** Rows first .. first + rows as `to`: values, codes, or f16 bits of the scales. */
export function unpackedAwq(packed: AwqPacked, to: "f32" | "q8" | "scales", first: number, rows: number) {
  const count = rows * packed.inner;
  const out = to === "f32" ? new Float32Array(count) : to === "q8" ? new Int8Array(count) : new Uint16Array(count / GROUP);
  let at = 0;
  for (const { code, scale } of elements(packed, first, rows)) {
    if (to === "scales") out[Math.floor(at / GROUP)] = scale;
    else out[at] = to === "q8" ? code : code * widenHalf(scale);
    at++;
  }
  return out;
}
