import { type EngineError, late } from "../errors.ts";
import type { PortableImage, RgbaPixels, SizeCheck } from "./platform.ts";

/** Pixels as they are stored: what a browser would do to them for showing is switched off. */
export const AS_STORED: ImageBitmapOptions = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

const isElement = (image: object): image is HTMLImageElement => "naturalWidth" in image;
const isCanvas = (image: object): boolean => "getContext" in image;
const isFrame = (image: object): boolean => "displayWidth" in image;
const isVideo = (image: object): image is HTMLVideoElement => "videoWidth" in image;

export const shown = () => late("what tells of a page's pictures", import("./web-shown.ts"));

const unreadable = async (cause: unknown): Promise<EngineError> => (await shown()).unreadable(cause);

/** The size of an image object in pixels; `undefined` for what is none. @throws EngineError bad-image for one without a picture */
async function sizeOf(image: object): Promise<{ width: number; height: number } | undefined> {
  if (isElement(image)) await image.decode().catch(async (cause) => Promise.reject(await unreadable(cause)));
  const sized = image as Record<string, unknown>;
  const first = (...names: string[]) => names.map((name) => sized[name]).find((value) => typeof value === "number") as number | undefined;
  const width = first("displayWidth", "videoWidth", "naturalWidth", "width");
  const height = first("displayHeight", "videoHeight", "naturalHeight", "height");
  if (width === undefined || height === undefined) return undefined;
  if (!width || !height || (isVideo(image) && image.readyState < 2)) throw (await shown()).nothingShown(width, height);
  return { width, height };
}

/**
 * The RGBA pixels of an image object in sRGB, alpha beside the colours and not multiplied into them; `undefined` for
 * what is not an image object. @throws EngineError bad-image
 */
export async function pixelsOf(image: object, check: SizeCheck): Promise<RgbaPixels | undefined> {
  const size = await sizeOf(image);
  if (!size) return undefined;
  const { width, height } = size;
  check(width, height);
  // Frames of videos go over a canvas, and at once: the next may come. They have no alpha worth keeping, and copying one to a texture kills
  // SwiftShader's process.
  const moving = isVideo(image) || isFrame(image);
  const read = moving ? undefined : (await late("the reader of pictures", import("./web-texture.ts"))).throughTexture;
  try {
    const pixels = await read?.(image as GPUCopyExternalImageSource, width, height);
    if (pixels) return pixels;
    // Too large for a texture, or no WebGPU: still right for what is opaque.
    const drawable = "data" in image ? await createImageBitmap(image as ImageData) : (image as ImageBitmap);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
    context.drawImage(drawable, 0, 0);
    return context.getImageData(0, 0, width, height);
  } catch (cause) {
    throw await unreadable(cause);
  }
}

/**
 * An image object as a worker can take it: elements and canvases belong to their page, so they become a file, a bitmap
 * or a frame, which moves over without a copy. What can be sent as it is stays the caller's and is cloned.
 */
export async function portable(image: object): Promise<PortableImage> {
  if (isElement(image)) {
    const file = await (await shown()).fileOf(image);
    if (file) return { image: file, transfer: [] };
  }
  if (!isElement(image) && !isCanvas(image) && !isVideo(image)) return { image, transfer: [] };
  await sizeOf(image);
  try {
    const moved = isVideo(image) ? new VideoFrame(image) : await createImageBitmap(image as ImageBitmapSource, AS_STORED);
    return { image: moved, transfer: [moved] };
  } catch (cause) {
    throw await unreadable(cause);
  }
}
