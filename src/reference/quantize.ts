import { codeAt, GROUP, widenHalf } from "../tensor/tensor.ts";

/** Codes and f16 scales of some groups, as the GPU lays them out (tensor/tensor.ts). */
export interface Quantized {
  codes: Uint32Array<ArrayBuffer>;
  /** f16 bits, one a group. */
  scales: Uint16Array<ArrayBuffer>;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** The f16 nearest to an f32 (ties to even), as bits; 65520 and above is infinity. */
export function halfBits(value: number): number {
  float[0] = value;
  const sign = (word[0]! >>> 16) & 0x8000;
  const magnitude = word[0]! & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  const a = Math.abs(float[0]);
  if (a >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, (magnitude >>> 23) - 127);
  return sign | (roundEven(a / 2 ** (exponent - 10)) + ((exponent + 14) << 10)); // a carry runs into the exponent, as it should
}

/** The bf16 nearest to an f32 (ties to even), as bits. Infinities and NaN keep their upper half. */
export function bf16Bits(value: number): number {
  float[0] = value;
  const bits = word[0]!;
  return (bits & 0x7fffffff) >= 0x7f800000 ? bits >>> 16 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Rounds to an integer, ties to even, as WGSL's round. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

const f = Math.fround;
const LEAST = 2 ** -26;
const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));

function scaleQ8(x: ArrayLike<number>, at: number): number {
  let peak = 0;
  for (let i = 0; i < GROUP; i++) peak = Math.max(peak, Math.abs(x[at + i]!));
  return peak < LEAST ? 0 : halfBits(f(peak / 127));
}

/** quantize.q4.wgsl's candidates: divisors of the element of largest magnitude. */
const DIVISORS = [-9, -8.4, -7.8, -7.2, -6.6, 7.6, 7, 6.4].map(f);

function scaleQ4(x: ArrayLike<number>, at: number): number {
  let most = 0;
  for (let i = 0; i < GROUP; i++) if (Math.abs(x[at + i]!) > Math.abs(most)) most = x[at + i]!;
  if (Math.abs(most) < LEAST) return 0;
  let gain = 0;
  let best = 0;
  for (const divisor of DIVISORS) {
    const inverse = f(divisor / most);
    // In f32 and in the shader's order of sums: the same candidate must win.
    const xq = [0, 0, 0, 0];
    let qq = 0;
    for (let i = 0; i < GROUP; i++) {
      const q = clamp(roundEven(f(x[at + i]! * inverse)), -8, 7);
      xq[i % 4] = f(xq[i % 4]! + f(x[at + i]! * q));
      qq += q * q;
    }
    const sum = f(f(xq[0]! + xq[1]!) + f(xq[2]! + xq[3]!));
    const fit = f(sum / qq);
    if (f(sum * fit) > gain) {
      gain = f(sum * fit);
      best = fit;
    }
  }
  return halfBits(best);
}

/** The CPU twin of quantize.q8.wgsl and quantize.q4.wgsl: whole groups of 32 (a multiple of it many elements), in f32. */
export function quantize(x: ArrayLike<number>, format: "q8" | "q4"): Quantized {
  const groups = x.length / GROUP;
  const perWord = format === "q8" ? 4 : 8;
  const codes = new Uint32Array(x.length / perWord);
  const scales = new Uint16Array(groups);
  for (let g = 0; g < groups; g++) {
    const bits = format === "q8" ? scaleQ8(x, g * GROUP) : scaleQ4(x, g * GROUP);
    scales[g] = bits;
    const scale = widenHalf(bits);
    for (let i = g * GROUP; i < (g + 1) * GROUP; i++) {
      const level = scale === 0 ? 0 : roundEven(f(x[i]! / scale));
      const at = Math.floor(i / perWord);
      if (format === "q8") codes[at]! |= (clamp(level, -127, 127) & 255) << (8 * (i % 4));
      else codes[at]! |= (clamp(level, -8, 7) + 8) << (8 * (i % 4) + (i % 8 < 4 ? 0 : 4));
    }
  }
  return { codes, scales };
}

/** The values that codes and scales stand for. */
export function dequantize({ codes, scales }: Quantized, format: "q8" | "q4"): Float32Array<ArrayBuffer> {
  const out = new Float32Array(scales.length * GROUP);
  const bytes = new Uint8Array(codes.buffer, codes.byteOffset);
  for (let g = 0; g < scales.length; g++) {
    const scale = widenHalf(scales[g]!);
    for (let i = g * GROUP; i < (g + 1) * GROUP; i++) out[i] = codeAt(bytes, i, format) * scale;
  }
  return out;
}
