import { platform } from "#platform";
import { late } from "../errors.ts";
import { decodeImage } from "../media/decode.ts";
import { readDimensions } from "../media/dimensions.ts";
import { badImage, checkDimensions, type RgbImage } from "../media/image.ts";
import { plainJpeg } from "../media/jpeg.ts";
import { readJpeg } from "../media/jpeg-structure.ts";
import { rgbFromPixels } from "../media/pixels.ts";
import { NATIVE, sniff } from "../media/sniff.ts";
import type { ImageOptions } from "./image-options.ts";

/** A file's pixels, as Pillow's `convert("RGB")` has them. EXIF and colour profile are not heeded: upstream heeds neither. */
export async function decodeFile(bytes: Uint8Array, options: ImageOptions): Promise<RgbImage> {
  const { decoder = "auto", maxPixels, maxSide, allowTruncated, signal } = options;
  const limits = { maxPixels, maxSide, allowTruncated };
  const format = sniff(bytes);
  const native = async (file: Uint8Array, name: string): Promise<RgbImage> => {
    const check = (width: number, height: number) => checkDimensions(name, width, height, limits);
    const job = { bytes: file, format: name, check, tolerant: allowTruncated ?? false };
    return rgbFromPixels(await platform.decodeNative(job), limits);
  };
  if (format === "bmp") return (await late("the decoder of BMP files", import("../media/bmp.ts"))).decodeBmp(bytes, limits);
  const name = NATIVE[format];
  if (name !== undefined) {
    if (decoder === "js")
      throw badImage(`the picture is a ${name} file, which decoder: "js" does not take`, "Leave decoder out, or convert it to PNG.");
    if (format === "avif") return native((await late("what reads AVIF files", import("../media/avif.ts"))).unturnedAvif(bytes), name);
    if (format !== "gif") return native(bytes, name);
    const { fillAround, opaqueGif } = await late("what reads GIF files", import("../media/gif.ts"));
    const { file, frame } = opaqueGif(bytes);
    const image = await native(file, name);
    if (frame) fillAround(image, frame);
    return image;
  }
  if (decoder === "native" && format === "jpeg") {
    const { width, height } = await readDimensions(bytes);
    checkDimensions("JPEG", width, height, limits);
    const parts = readJpeg(bytes, limits);
    // Of four components browsers make what they like, and they do not know arithmetic coding.
    if (parts.frame.components.length < 4 && !parts.frame.arithmetic) return native(plainJpeg(parts), "JPEG");
  }
  return decodeImage(bytes, { ...limits, signal });
}
