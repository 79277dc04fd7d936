import { EngineError, late } from "../errors.ts";
import { once } from "./once.ts";
import type { PortableImage, RgbaPixels, SizeCheck } from "./platform.ts";

/** Pixels as they are stored: what a browser would do to them for showing is switched off. */
export const AS_STORED: ImageBitmapOptions = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

const isElement = (image: object): image is HTMLImageElement => "naturalWidth" in image;
const isCanvas = (image: object): boolean => "getContext" in image;
const isFrame = (image: object): boolean => "displayWidth" in image;
const isVideo = (image: object): image is HTMLVideoElement => "videoWidth" in image;

function unreadable(cause: unknown): EngineError {
  const tainted = (cause as DOMException).name === "SecurityError";
  return new EngineError("bad-image", `the browser does not give the picture's pixels out: ${(cause as Error).message}`, {
    hint: tainted ? 'load it from the page\'s own origin, or with CORS and crossorigin="anonymous"' : "give the picture's File or Blob",
    cause,
  });
}

/** The size of an image object in pixels; `undefined` for what is none. @throws EngineError bad-image for one without a picture */
async function sizeOf(image: object): Promise<{ width: number; height: number } | undefined> {
  if (isElement(image)) await image.decode().catch((cause) => Promise.reject(unreadable(cause)));
  const sized = image as Record<string, unknown>;
  const first = (...names: string[]) => names.map((name) => sized[name]).find((value) => typeof value === "number") as number | undefined;
  const width = first("displayWidth", "videoWidth", "naturalWidth", "width");
  const height = first("displayHeight", "videoHeight", "naturalHeight", "height");
  if (width === undefined || height === undefined) return undefined;
  if (!width || !height || (isVideo(image) && image.readyState < 2))
    throw new EngineError("bad-image", `the picture has ${width} x ${height} pixels to show`, {
      hint: "it is closed or has not loaded yet: wait for its load (img) or loadeddata (video) event",
    });
  return { width, height };
}

/** What reads pictures through a texture comes with the first that stands still (a video would have gone on), for all that wait at once. */
const textures = once(() => late("what reads pictures", import("./web-texture.ts")));

/**
 * The RGBA pixels of an image object in sRGB, alpha beside the colours and not multiplied into them; `undefined` for
 * what is not an image object. @throws EngineError bad-image
 */
export async function pixelsOf(image: object, check: SizeCheck): Promise<RgbaPixels | undefined> {
  const size = await sizeOf(image);
  if (!size) return undefined;
  const { width, height } = size;
  check(width, height);
  // Frames of videos go over a canvas: they have no alpha worth keeping, and copying one to a texture kills SwiftShader's process.
  const texture = isVideo(image) || isFrame(image) ? undefined : await textures();
  try {
    const read = await texture?.throughTexture(image as GPUCopyExternalImageSource, width, height);
    if (read) return read;
    // Too large for a texture, or no WebGPU: still right for what is opaque.
    const drawable = "data" in image ? await createImageBitmap(image as ImageData) : (image as ImageBitmap);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
    context.drawImage(drawable, 0, 0);
    return context.getImageData(0, 0, width, height);
  } catch (cause) {
    throw unreadable(cause);
  }
}

/** The file behind an img element, from the browser's cache; `undefined` where it cannot be had or is of a kind only browsers decode. */
export async function fileOf(image: object): Promise<Blob | undefined> {
  if (!isElement(image) || !image.currentSrc) return undefined;
  try {
    const blob = await (await fetch(image.currentSrc)).blob();
    return /^image\/(png|jpeg)$/.test(blob.type) ? blob : undefined;
  } catch {
    return undefined; // a revoked blob: URL, or another origin without CORS: then it is drawn, or refused there
  }
}

/**
 * An image object as a worker can take it: elements and canvases belong to their page, so they become a file, a bitmap
 * or a frame, which moves over without a copy. What can be sent as it is stays the caller's and is cloned.
 */
export async function portable(image: object): Promise<PortableImage> {
  if (isElement(image)) {
    const file = await fileOf(image);
    if (file) return { image: file, transfer: [] };
  }
  if (!isElement(image) && !isCanvas(image) && !isVideo(image)) return { image, transfer: [] };
  await sizeOf(image);
  try {
    const moved = isVideo(image) ? new VideoFrame(image) : await createImageBitmap(image as ImageBitmapSource, AS_STORED);
    return { image: moved, transfer: [moved] };
  } catch (cause) {
    throw unreadable(cause);
  }
}
