import { EngineError } from "../errors.ts";
import type { RgbImage } from "./image.ts";

/** Weights are integers with this many fraction bits (`PRECISION_BITS` of Pillow's Resample.c: 32 - 8 - 2). */
const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/**
 * `PIL.Image.resize((width, height))` of an RGB picture, bit for bit: bicubic (a = -0.5), antialiased when it shrinks.
 *
 * As in `Resample.c`, the horizontal pass comes first and its result is rounded to bytes before the vertical one. A pass
 * is skipped when its axis keeps its size; when both do, the picture itself is returned. All sums fit in int32.
 */
export function resize(image: RgbImage, width: number, height: number): RgbImage {
  for (const [name, side] of Object.entries({ width, height })) {
    if (!Number.isInteger(side) || side < 1) throw new EngineError("bad-input", `resize ${name} is ${side}, it must be a positive integer`);
  }
  if (image.data.length !== image.width * image.height * 3) {
    throw new EngineError(
      "bad-input",
      `the image has ${image.data.length} bytes, ${image.width} x ${image.height} x 3 need ${image.width * image.height * 3}`,
    );
  }
  const across = width === image.width ? image : resizeRows(image, width);
  return height === image.height ? across : resizeColumns(across, height);
}

/** For each output position: where its window starts, how long it is, and its weights, `taps` to a window. */
interface Windows {
  taps: number;
  start: Int32Array; // [out]
  length: Int32Array; // [out]
  weights: Int32Array; // [out, taps], PRECISION fraction bits, zero past the length
}

/** `precompute_coeffs` and `normalize_coeffs_8bpc`: computed in float64, then rounded half away from zero. */
function windows(input: number, output: number): Windows {
  const scale = input / output;
  const filterScale = Math.max(scale, 1); // widening the filter is what antialiases
  const support = 2 * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(output);
  const length = new Int32Array(output);
  const weights = new Int32Array(output * taps);
  const window = new Float64Array(taps);
  for (let x = 0; x < output; x++) {
    const center = (x + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(input, Math.trunc(center + support + 0.5)) - low;
    let sum = 0;
    for (let k = 0; k < count; k++) sum += window[k] = bicubic((low + k - center + 0.5) * (1 / filterScale));
    for (let k = 0; k < count; k++) {
      const weight = (sum === 0 ? window[k]! : window[k]! / sum) * (1 << PRECISION);
      weights[x * taps + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    start[x] = low;
    length[x] = count;
  }
  return { taps, start, length, weights };
}

/** Keys' cubic with a = -0.5. */
function bicubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/** image: [height, in, 3] → [height, width, 3]. */
function resizeRows({ width: input, height, data }: RgbImage, width: number): RgbImage {
  const { taps, start, length, weights } = windows(input, width);
  const out = new Uint8Array(height * width * 3);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const row = y * input * 3;
    for (let x = 0; x < width; x++) {
      let r = HALF;
      let g = HALF;
      let b = HALF;
      let from = row + start[x]! * 3;
      const end = x * taps + length[x]!;
      for (let k = x * taps; k < end; k++, from += 3) {
        const weight = weights[k]!;
        r = (r + Math.imul(data[from]!, weight)) | 0;
        g = (g + Math.imul(data[from + 1]!, weight)) | 0;
        b = (b + Math.imul(data[from + 2]!, weight)) | 0;
      }
      out[to++] = clip(r);
      out[to++] = clip(g);
      out[to++] = clip(b);
    }
  }
  return { width, height, data: out };
}

/** image: [in, width, 3] → [height, width, 3]. One accumulator a column, so that memory is read in order. */
function resizeColumns({ width, height: input, data }: RgbImage, height: number): RgbImage {
  const { taps, start, length, weights } = windows(input, height);
  const rowBytes = width * 3;
  const out = new Uint8Array(height * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let k = 0; k < length[y]!; k++) {
      const weight = weights[y * taps + k]!;
      const from = (start[y]! + k) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] = sums[i]! + Math.imul(data[from + i]!, weight);
    }
    const to = y * rowBytes;
    for (let i = 0; i < rowBytes; i++) out[to + i] = clip(sums[i]!);
  }
  return { width, height, data: out };
}

function clip(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
