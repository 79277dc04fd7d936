import type { PlainDtype } from "../ops/quantize.ts";
import { bf16Bits, dequantize, halfBits } from "../reference/quantize.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype, widenBf16, widenF16 } from "../tensor/tensor.ts";
import { POOL_ELEMENTS, Random } from "./random.ts";

/** A matrix's elements as they lie on the GPU, row-major, and the values that those bits stand for, exactly. */
export interface Encoded {
  bytes: Uint8Array<ArrayBuffer>;
  /** q8 and q4: f16 bits, one for every 32 elements. */
  scales: Uint16Array<ArrayBuffer> | undefined;
  values: Float32Array<ArrayBuffer>;
}

/**
 * Random codes and scales rather than quantised values: every code occurs equally often, the extreme ones included. Values lie in [-1, 1];
 * a scale may be negative.
 */
function drawQuantized(random: Random, count: number, dtype: "q8" | "q4", sizeOf: (i: number) => number): Encoded {
  const bytes = new Uint8Array(count * BYTES_PER_ELEMENT[dtype]);
  const scales = new Uint16Array(count / GROUP);
  for (let group = 0; group < scales.length; group++) {
    const scale = ((random.next() < 0.5 ? -1 : 1) * (0.25 + 0.75 * random.next())) / (dtype === "q8" ? 127 : 8);
    scales[group] = halfBits(sizeOf(group * GROUP) * scale);
    for (let i = group * GROUP; i < (group + 1) * GROUP; i++) {
      if (dtype === "q8") bytes[i] = random.integer(-127, 127);
      else bytes[4 * (i >> 3) + (i & 3)]! |= random.integer(0, 15) << (i & 4);
    }
  }
  return { bytes, scales, values: dequantize({ codes: new Uint32Array(bytes.buffer), scales }, dtype) };
}

function draw(random: Random, count: number, dtype: MatrixDtype, small = false): Encoded {
  /** Every third group of 32. */
  const sizeOf = (i: number) => (small && Math.floor(i / GROUP) % 3 === 0 ? 2 ** -14 : 1);
  if (isQuantized(dtype)) return drawQuantized(random, count, dtype, sizeOf);
  const { words, values } = rounded(
    Float32Array.from({ length: count }, (_, i) => sizeOf(i) * (random.next() * 2 - 1)),
    dtype,
  );
  return { bytes: new Uint8Array(words.buffer), scales: undefined, values };
}

const pools = new Map<MatrixDtype, Encoded>();

/**
 * `count` random weights of a dtype, in [-1, 1]; large ones are put together from stretches of one drawn pool. `small`: a third of them are below
 * 2^-14, where f16 has subnormal numbers only.
 */
export function drawWeights(random: Random, count: number, dtype: MatrixDtype, small = false): Encoded {
  if (small || count <= POOL_ELEMENTS / 4) return draw(random, count, dtype, small);
  let pool = pools.get(dtype);
  if (!pool) {
    pool = draw(new Random(`pool ${dtype}`), POOL_ELEMENTS, dtype);
    pools.set(dtype, pool);
  }
  const size = BYTES_PER_ELEMENT[dtype];
  const out: Encoded = {
    bytes: new Uint8Array(count * size),
    scales: pool.scales && new Uint16Array(count / GROUP),
    values: new Float32Array(count),
  };
  for (const { at, from, length } of random.chunks(count)) {
    out.bytes.set(pool.bytes.subarray(from * size, (from + length) * size), at * size);
    out.values.set(pool.values.subarray(from, from + length), at);
    out.scales?.set(pool.scales!.subarray(from / GROUP, (from + length) / GROUP), at / GROUP);
  }
  return out;
}

/** Values as they are stored in a dtype: the words, and what those stand for. An even number of them. */
export function rounded(values: Float32Array<ArrayBuffer>, dtype: PlainDtype) {
  if (dtype === "f32") return { words: new Uint32Array(values.buffer, values.byteOffset, values.length), values };
  const bits = Uint16Array.from(values, dtype === "bf16" ? bf16Bits : halfBits);
  return { words: new Uint32Array(bits.buffer), values: (dtype === "bf16" ? widenBf16 : widenF16)(bits) };
}
