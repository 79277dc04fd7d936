import { bf16Bits } from "./quantize.ts";

/** The hash keys and the distribution of one synthetic tensor (facts/SYNTHETIC.md §1 and §4). */
interface Rule {
  k1: number;
  k2: number;
  scale: number;
  offset: number;
}

const low = (x: bigint): bigint => x & 0xffffffffn;

/** Twin of synth.wgsl: the bf16 bits of the elements first … first + count, by the words of facts/SYNTHETIC.md §2 and §3. */
export function synthetic({ k1, k2, scale, offset }: Rule, first: number, count: number): Uint16Array<ArrayBuffer> {
  return Uint16Array.from({ length: count }, (_, i) => {
    let h = low(BigInt(first + i) * 0x9e3779b9n + BigInt(k1));
    h ^= h >> 16n;
    h = low(h * 0x85ebca6bn) ^ BigInt(k2);
    h ^= h >> 13n;
    h = low(h * 0xc2b2ae35n);
    h ^= h >> 16n;
    return bf16Bits(((Number(h >> 8n) - 2 ** 23) / 2 ** 23) * scale + offset); // to f32, then to bf16
  });
}
