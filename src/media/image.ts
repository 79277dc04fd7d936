import { EngineError } from "../errors.ts";

/** A decoded picture: 8 bits a channel, no alpha, as Pillow's `convert("RGB")` leaves it. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array; // [height, width, 3]
}

/** How large a picture may claim to be before anything is allocated for it. */
export interface ImageLimits {
  /** Largest width × height; 50 million by default. */
  maxPixels?: number;
  /** Largest width and largest height; 20 000 by default. */
  maxSide?: number;
}

const DEFAULT_MAX_PIXELS = 50_000_000;
const DEFAULT_MAX_SIDE = 20_000;

/** The error for a file that is damaged, unsupported or too large: what it has, what is needed, what to do. */
export function badImage(message: string, hint: string, cause?: unknown): EngineError {
  return new EngineError("bad-image", message, { hint, cause });
}

export const DAMAGED = "The file is damaged or incomplete: fetch or export it again.";

/** Refuses sizes that are empty or above the limits. Call it with the *declared* size, before decoding. */
export function checkDimensions(format: string, width: number, height: number, limits: ImageLimits = {}): void {
  const { maxPixels = DEFAULT_MAX_PIXELS, maxSide = DEFAULT_MAX_SIDE } = limits;
  for (const [name, value] of Object.entries({ maxPixels, maxSide })) {
    if (!(value > 0)) throw new EngineError("bad-input", `${name} is ${value}, it must be a positive number`);
  }
  if (width < 1 || height < 1) {
    throw badImage(`the ${format} declares ${width} x ${height} pixels, both sides must be at least 1`, DAMAGED);
  }
  if (width > maxSide || height > maxSide) {
    throw badImage(
      `the ${format} is ${width} x ${height} pixels, at most ${maxSide} a side are allowed`,
      "Scale the image down, or raise maxSide.",
    );
  }
  if (width * height > maxPixels) {
    throw badImage(
      `the ${format} is ${width} x ${height} = ${width * height} pixels, at most ${maxPixels} are allowed`,
      "Scale the image down, or raise maxPixels.",
    );
  }
}
