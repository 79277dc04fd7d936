import { EngineError } from "../errors.ts";
import { wrong } from "../options.ts";
import { checkDimensions, type ImageLimits, type RgbImage } from "./image.ts";

/** Raw pixels as a canvas or another decoder gives them: rows from the top, channels interleaved, 8 bits each. */
export interface RawPixels {
  data: Uint8Array | Uint8ClampedArray; // [height, width, channels]
  width: number;
  height: number;
  /** 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; by default what the length of `data` implies. */
  channels?: number;
}

/**
 * Raw pixels as RGB. Alpha is dropped, not composited, as Pillow's `convert("RGB")` does.
 * @throws EngineError bad-input for what are not such pixels, bad-image for more than the limits allow
 */
export function rgbFromPixels({ data, width, height, channels }: RawPixels, limits: ImageLimits = {}): RgbImage {
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    const hint = "Scale other sample types to 0..255 and store them in a Uint8Array.";
    throw new EngineError("bad-input", "pixel data must be a Uint8Array or Uint8ClampedArray", { hint });
  }
  for (const [name, side] of Object.entries({ width, height })) {
    if (!Number.isInteger(side) || side < 1) throw wrong(`the ${name} of the pixels`, side, "a positive integer");
  }
  checkDimensions("picture", width, height, limits);
  const pixels = width * height;
  const step = channels ?? data.length / pixels;
  if (![1, 2, 3, 4].includes(step) || data.length !== pixels * step) {
    throw new EngineError(
      "bad-input",
      `pixel data has ${data.length} bytes, ${width} x ${height} pixels need ${channels === undefined ? `${pixels} times 1, 2, 3 or 4` : `${pixels} x ${channels} channels (1, 2, 3 or 4)`}`,
      { hint: "Give the width and height of the data, without padding at the ends of rows." },
    );
  }
  if (step === 3) return { width, height, data: new Uint8Array(data) };
  const rgb = new Uint8Array(pixels * 3);
  const [green, blue] = step === 4 ? [1, 2] : [0, 0]; // grey is replicated
  for (let i = 0, from = 0, to = 0; i < pixels; i++, from += step, to += 3) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + green]!;
    rgb[to + 2] = data[from + blue]!;
  }
  return { width, height, data: rgb };
}
