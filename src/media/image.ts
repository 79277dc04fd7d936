import { EngineError } from "../errors.ts";
import { number } from "../options.ts";

/** A decoded picture: 8 bits a channel, no alpha, as Pillow's `convert("RGB")` leaves it. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array; // [height, width, 3]
}

/** How large a picture may claim to be before anything is allocated for it, and whether a part of one is enough. */
export interface ImageLimits {
  /** Largest width × height; 200 million by default. */
  maxPixels?: number | undefined;
  /** Largest width and largest height; 65,535 by default, which is as far as JPEG goes. */
  maxSide?: number | undefined;
  /** True: a file that is cut off shows what there is of it. JPEG leaves the rest grey, PNG black, as Pillow's LOAD_TRUNCATED_IMAGES does. */
  allowTruncated?: boolean | undefined;
}

/** The longest file that is taken for a picture, in bytes: photos of 200 million pixels are far below it. */
export const MOST_BYTES = 2 ** 29;

const DEFAULT_MAX_PIXELS = 200_000_000;
const DEFAULT_MAX_SIDE = 65_535;

/** The error for a file that is damaged, unsupported or too large: what it has, what is needed, what to do. */
export function badImage(message: string, hint: string, cause?: unknown): EngineError {
  return new EngineError("bad-image", message, { hint, cause });
}

/** The hint for a file that is damaged. */
export const DAMAGED = "The file is damaged or incomplete: fetch or export it again.";

/** The error for a file that ends before its picture does. */
export function cutOff(message: string, cause?: unknown): EngineError {
  return badImage(`${message}: it is cut off`, "Fetch it again, or take what there is with allowTruncated: true.", cause);
}

/** Refuses sizes that are empty or above the limits. Call it with the *declared* size, before decoding. @throws EngineError bad-image, bad-input */
export function checkDimensions(what: string, width: number, height: number, limits: ImageLimits = {}): void {
  const most = number("a positive number", (value) => value > 0);
  const maxPixels = most(limits.maxPixels ?? DEFAULT_MAX_PIXELS, "maxPixels");
  const maxSide = most(limits.maxSide ?? DEFAULT_MAX_SIDE, "maxSide");
  if (width < 1 || height < 1) throw badImage(`the ${what} declares ${width} x ${height} pixels, both sides must be at least 1`, DAMAGED);
  if (width > maxSide || height > maxSide) {
    throw badImage(
      `the ${what} is ${width} x ${height} pixels, at most ${maxSide} a side are allowed`,
      "Scale the picture down, or raise maxSide.",
    );
  }
  if (width * height > maxPixels) {
    throw badImage(
      `the ${what} is ${width} x ${height} = ${width * height} pixels, at most ${maxPixels} are allowed`,
      "Scale the picture down, or raise maxPixels.",
    );
  }
}

/** The pieces one after another. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
