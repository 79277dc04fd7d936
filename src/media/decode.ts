import { EngineError } from "../errors.ts";
import { badImage, checkDimensions, DAMAGED, type ImageLimits, type RgbImage } from "./image.ts";
import { decodeJpeg } from "./jpeg.ts";
import { decodePng } from "./png.ts";
import { readDimensions } from "./sniff.ts";

/**
 * Decodes a PNG or JPEG file to RGB as Pillow's `Image.open(f).convert("RGB")` does: no EXIF rotation, no colour
 * management, alpha dropped. The declared size is checked before anything is allocated.
 *
 * Throws `EngineError` with code `bad-image` for everything that is wrong with the file, and nothing else.
 * `name` (a file name, "image 2", …) goes in front of the message.
 */
export function decodeImage(bytes: Uint8Array, options: ImageLimits & { name?: string } = {}): RgbImage {
  if (!(bytes instanceof Uint8Array)) throw new EngineError("bad-input", `decodeImage needs a Uint8Array, it got ${typeof bytes}`);
  try {
    const { format, width, height } = readDimensions(bytes);
    checkDimensions(format.toUpperCase(), width, height, options);
    return format === "png" ? decodePng(bytes) : decodeJpeg(bytes);
  } catch (error) {
    throw named(error, options.name);
  }
}

/** Whatever a decoder throws becomes `bad-image`; its own text is kept as it often says where the damage is. */
function named(error: unknown, name: string | undefined): EngineError {
  const known = error instanceof EngineError ? error : badImage(`the image cannot be decoded: ${textOf(error)}`, DAMAGED, error);
  if (name === undefined) return known;
  const { code, message, hint, cause } = known;
  return new EngineError(code, `${name}: ${message}`, { ...(hint === undefined ? {} : { hint }), cause });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
