/**
 * Chroma upsampling as libjpeg-turbo does it ("fancy": a triangle filter), which is what Pillow's pixels come from. Source: `jdsample.c`.
 *
 * jpeg-js repeats each chroma sample, which moves coloured edges by up to a hundred levels. Repetition loses nothing, though: the samples
 * are taken back from its output and spread anew. `source` is [height, width, 3] with samples of component `channel` repeated
 * `factorX` x `factorY` times; the result is one plane [height, width]. Factors that libjpeg does not smooth stay repeated.
 */
export function upsample(source: Uint8Array, width: number, height: number, channel: number, factorX: number, factorY: number): Uint8Array {
  const [columns, rows] = [Math.ceil(width / factorX), Math.ceil(height / factorY)];
  const plane = new Uint8Array(width * height);
  const smoothX = factorX === 2 && factorY <= 2 && columns > 2;
  const smoothY = factorY === 2 && (smoothX || factorX === 1);
  if (!smoothX && !smoothY) {
    for (let i = 0, from = channel; i < plane.length; i++, from += 3) plane[i] = source[from]!;
    return plane;
  }
  const near = new Int32Array(columns + 2); // one row blended vertically, with its ends repeated once
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / factorY);
    // The second nearest chroma row lies above for the upper of two pixel rows, below for the lower.
    const other = Math.min(rows - 1, Math.max(0, y % 2 === 0 ? row - 1 : row + 1));
    for (let x = 0; x < columns; x++) {
      const a = source[(row * factorY * width + x * factorX) * 3 + channel]!;
      const b = smoothY ? source[(other * factorY * width + x * factorX) * 3 + channel]! : 0;
      near[x + 1] = smoothY ? 3 * a + b : a;
    }
    near[0] = near[1]!;
    near[columns + 1] = near[columns]!;
    const to = y * width;
    if (!smoothX) {
      const bias = y % 2 === 0 ? 1 : 2;
      for (let x = 0; x < width; x++) plane[to + x] = (near[x + 1]! + bias) >> 2;
      continue;
    }
    // Rounding alternates between left and right pixels, so that no direction is favoured.
    const [left, right, shift] = smoothY ? [8, 7, 4] : [1, 2, 2];
    for (let x = 0; x < width; x++) {
      const at = (x >> 1) + 1;
      const sum = x % 2 === 0 ? 3 * near[at]! + near[at - 1]! + left : 3 * near[at]! + near[at + 1]! + right;
      plane[to + x] = sum >> shift;
    }
  }
  return plane;
}
