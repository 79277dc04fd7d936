import { platform } from "#platform";
import { EngineError, late } from "../errors.ts";
import { badImage, checkDimensions, MOST_BYTES, type RgbImage } from "../media/image.ts";
import { rgbFromPixels } from "../media/pixels.ts";
import { has, wrong } from "../options.ts";
import type { ImageOptions } from "./image-options.ts";

/** Raw pixels, 8 bits a channel, row by row; alpha is dropped. */
export interface RawImage {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  /** 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; told from the length where absent. */
  channels?: number;
}

/** Whatever shows a picture: told apart by shape, not by class, so that objects of another realm work too. */
export type ImageLike =
  | string
  | URL
  | Blob
  | ArrayBuffer
  | Uint8Array
  | RawImage
  | ImageBitmap
  | HTMLImageElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLVideoElement
  | VideoFrame;

/** Whether a value is an ArrayBuffer, of this realm or another, shared or not. */
export const isBuffer = (value: object): value is ArrayBuffer =>
  /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(value));
/** Whether a value is a Blob, told by its members: it may come from another realm. */
export const isBlob = (value: object): value is Blob => has(value, "arrayBuffer", "size");
/** Pixels in sRGB; an ImageData in another colour space is converted as the other image objects are. */
export const isSrgb = (value: object): boolean =>
  has(value, "data", "width", "height") && ((value as Partial<ImageData>).colorSpace ?? "srgb") === "srgb";
/** Whether a value is a URL object, and no element or location that has an address too. */
export const isUrlObject = (value: object): value is URL => has(value, "href", "protocol") && !has(value, "naturalWidth");

/**
 * What a history holds of a picture, or what a page shows, as RGB; alpha is dropped.
 * @throws EngineError bad-image, bad-input, limit-exceeded, network, aborted
 */
export async function toRgb(image: ImageLike, options: ImageOptions): Promise<RgbImage> {
  const { name } = options;
  // A short path says more than "image 2" does.
  const called = typeof image === "string" && image.length <= 300 && !/^\w{2,}:/.test(image) ? image : name;
  try {
    return await rgbOf(image, options);
  } catch (error) {
    if (!(error instanceof EngineError)) {
      throw new EngineError("bad-input", `${name} cannot be read: ${String((error as Error | undefined)?.message).slice(0, 200)}`, {
        hint: GIVE,
        cause: error,
      });
    }
    const { code, message, hint, cause } = error;
    if (code !== "bad-image" || message.startsWith(called)) throw error;
    throw new EngineError(code, `${called}: ${message}`, { hint, cause });
  }
}

/** What is taken for a picture. */
export const GIVE = "give a path, a URL, a Blob, the bytes of a picture's file, or { data, width, height }";

/** What fetches pictures comes with the first that is not a file in memory. */
export const address = () => late("what fetches pictures", import("./address.ts"));

async function rgbOf(image: ImageLike, options: ImageOptions): Promise<RgbImage> {
  const { name, signal } = options;
  if (typeof image === "string") return decode(await (await address()).bytesAt(image, name, signal), options);
  if (image instanceof Uint8Array) {
    if (image.length > 0) return decode(image, options);
    throw badImage(`${name} has no bytes: it is empty, or its buffer was moved away (transferred, detached)`, GIVE);
  }
  if (isSrgb(image)) return rgbFromPixels(image as RawImage, options);
  const drawn = await platform.pixelsOf(image, (width, height) => checkDimensions("picture", width, height, options));
  if (drawn) return rgbFromPixels(drawn, options);
  throw wrong(name, image, "a picture", GIVE);
}

/** All bytes of a Blob. @throws EngineError bad-image where it is too large, or cannot be read any more */
export async function bytesOfBlob(name: string, blob: Blob): Promise<Uint8Array> {
  if (blob.size > MOST_BYTES) throw badImage(`${name} has ${blob.size} bytes, at most ${MOST_BYTES} are allowed`, "Give a smaller file.");
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const why = String((cause as Error | undefined)?.message).slice(0, 200);
    throw badImage(`${name}'s file cannot be read: ${why}`, "It may have changed or gone since it was chosen: choose it again.", cause);
  }
}

/** A file's pixels. The decoders come with the first file: pages that only talk never download them. */
async function decode(bytes: Uint8Array, options: ImageOptions): Promise<RgbImage> {
  return (await late("the decoders of pictures", import("./decode-file.ts"))).decodeFile(bytes, options);
}
