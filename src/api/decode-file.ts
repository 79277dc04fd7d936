import { platform } from "#platform";
import { decodeImage } from "../media/decode.ts";
import { checkDimensions, type RgbImage } from "../media/image.ts";
import { plainJpeg } from "../media/jpeg.ts";
import { readJpeg } from "../media/jpeg-structure.ts";
import { rgbFromPixels } from "../media/pixels.ts";
import { readDimensions, sniff } from "../media/sniff.ts";
import type { ImageOptions } from "./image-options.ts";

/** A file's pixels. With the browser's decoder, EXIF and colour profile are taken out first: upstream heeds neither. */
export async function decodeFile(bytes: Uint8Array, options: ImageOptions): Promise<RgbImage> {
  const { decoder, maxPixels, maxSide, allowTruncated, signal } = options;
  const limits = { maxPixels, maxSide, allowTruncated };
  const format = sniff(bytes);
  if (decoder !== "native" || format === "png") return decodeImage(bytes, { ...limits, signal });
  let file = bytes;
  if (format === "jpeg") {
    const { width, height } = await readDimensions(bytes);
    checkDimensions("JPEG", width, height, limits);
    const parts = readJpeg(bytes, limits);
    // Of four components browsers make what they like, and they do not know arithmetic coding.
    if (parts.frame.components.length === 4 || parts.frame.arithmetic) return decodeImage(bytes, { ...limits, signal });
    file = plainJpeg(parts);
  }
  const check = (width: number, height: number) => checkDimensions("picture", width, height, limits);
  return rgbFromPixels(await platform.decodeNative(file, check), limits);
}
