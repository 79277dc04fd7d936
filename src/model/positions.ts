/** Keys' cubic convolution with a = -0.75, as torch's bicubic interpolation (aten UpSampleKernel). */
function cubicWeights(t: number): [number, number, number, number] {
  const a = -0.75;
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return [far(t + 1), near(t), near(1 - t), far(2 - t)];
}

/** For each of `to` outputs along an axis of `from` inputs: the four inputs it takes (clamped to the border) and their weights. */
function axis(from: number, to: number): { index: number[]; weight: number[] }[] {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale - 0.5; // align_corners = false
    const floor = Math.floor(centre);
    const index = [-1, 0, 1, 2].map((k) => Math.min(from - 1, Math.max(0, floor + k)));
    return { index, weight: cubicWeights(centre - floor) };
  });
}

/**
 * Position embedding [1 + from², width] for a grid of `to` patches a side: the class token's row as it is, the others resized
 * bicubically (modeling_intern_vit.py, `_get_pos_embed`: no antialias).
 */
export function interpolatePositions(
  position: Float32Array<ArrayBuffer>,
  from: number,
  to: number,
  width: number,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array((1 + to * to) * width);
  out.set(position.subarray(0, width));
  const taps = axis(from, to);
  for (let row = 0; row < to; row++) {
    for (let column = 0; column < to; column++) {
      const target = (1 + row * to + column) * width;
      for (let c = 0; c < width; c++) {
        let sum = 0;
        for (let i = 0; i < 4; i++) {
          for (let j = 0; j < 4; j++) {
            const source = 1 + taps[row]!.index[i]! * from + taps[column]!.index[j]!;
            sum += taps[row]!.weight[i]! * taps[column]!.weight[j]! * position[source * width + c]!;
          }
        }
        out[target + c] = sum;
      }
    }
  }
  return out;
}
