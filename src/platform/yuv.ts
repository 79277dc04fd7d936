/** Planes of a frame: a Y, and of each 2 x 2 pixels a U and a V (I420), or both side by side (NV12). */
export interface Planes {
  format: "I420" | "NV12";
  data: Uint8Array;
  layout: readonly { offset: number; stride: number }[];
  width: number;
  height: number;
}

/** How much of red and of blue is in Y, by WebCodecs' names. What a file leaves open is BT.601, as FFmpeg has it. */
const WEIGHTS: Readonly<Record<string, readonly [red: number, blue: number]>> = {
  bt709: [0.2126, 0.0722],
  "bt2020-ncl": [0.2627, 0.0593],
  smpte170m: [0.299, 0.114],
};

/**
 * A frame's colours as FFmpeg, and so upstream, makes them: browsers convert through color spaces, each in its own way.
 * → RGB [height, width, 3]
 */
export function rgbOfPlanes({ format, data, layout, width, height }: Planes, matrix: string | null | undefined, full: boolean): Uint8Array {
  const [red, blue] = WEIGHTS[matrix ?? ""] ?? WEIGHTS.smpte170m!;
  const green = 1 - red - blue;
  const [black, gain, swing] = full ? [0, 1, 1] : [16, 255 / 219, 255 / 224];
  const [fromV, fromU] = [2 * (1 - red) * swing, 2 * (1 - blue) * swing];
  const [lessV, lessU] = [(fromV * red) / green, (fromU * blue) / green];
  const [y0, u0, v0] = layout;
  const step = format === "NV12" ? 2 : 1;
  const vAt = format === "NV12" ? { offset: u0!.offset + 1, stride: u0!.stride } : v0!;
  const rgb = new Uint8ClampedArray(width * height * 3); // rounds, and holds within 0 to 255
  for (let y = 0, to = 0; y < height; y++) {
    const [yRow, uRow, vRow] = [y0!.offset + y * y0!.stride, u0!.offset + (y >> 1) * u0!.stride, vAt.offset + (y >> 1) * vAt.stride];
    for (let x = 0; x < width; x++, to += 3) {
      const light = (data[yRow + x]! - black) * gain;
      const u = data[uRow + (x >> 1) * step]! - 128;
      const v = data[vRow + (x >> 1) * step]! - 128;
      rgb[to] = light + fromV * v;
      rgb[to + 1] = light - lessU * u - lessV * v;
      rgb[to + 2] = light + fromU * u;
    }
  }
  return new Uint8Array(rgb.buffer);
}
