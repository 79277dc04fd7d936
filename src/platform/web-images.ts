import { EngineError } from "../errors.ts";
import { once } from "./once.ts";
import type { NativeJob, PortableImage, RgbaPixels, SizeCheck } from "./platform.ts";

/** Pixels as they are stored: what a browser would do to them for showing is switched off. */
const AS_STORED: ImageBitmapOptions = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

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

const fits = ({ limits }: GPUDevice, width: number, height: number): boolean =>
  Math.max(width, height) <= limits.maxTextureDimension2D && (width * 4 + 256) * height <= limits.maxBufferSize;

/** A device for reading pictures. Not the model's: this works before one is loaded. Its first use opens it, and the first after it was lost. */
let readerDevice = once(openReader);

async function openReader(): Promise<GPUDevice | undefined> {
  const adapter = await navigator.gpu?.requestAdapter();
  const device = await adapter?.requestDevice({
    label: "internvl pictures",
    requiredLimits: { maxTextureDimension2D: adapter.limits.maxTextureDimension2D },
  });
  const anew = () => {
    readerDevice = once(openReader);
  };
  if (device) device.lost.then(anew);
  else anew(); // there may be an adapter later
  return device;
}

/**
 * Reads pixels through a texture. A 2D canvas cannot: it stores colours multiplied by alpha, so that what is
 * transparent comes back black, and colours under a small alpha come back rounded.
 */
async function throughTexture(device: GPUDevice, source: GPUCopyExternalImageSource, width: number, height: number): Promise<RgbaPixels> {
  const size = { width, height };
  const texture = device.createTexture({
    size,
    format: "rgba8unorm",
    usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC | GPUTextureUsage.RENDER_ATTACHMENT,
  });
  const rowBytes = Math.ceil((width * 4) / 256) * 256; // WebGPU copies rows at multiples of 256 bytes
  const buffer = device.createBuffer({ size: rowBytes * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  try {
    device.queue.copyExternalImageToTexture({ source }, { texture, colorSpace: "srgb", premultipliedAlpha: false }, size);
    const encoder = device.createCommandEncoder();
    encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow: rowBytes }, size);
    device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const rows = new Uint8Array(buffer.getMappedRange());
    const data = new Uint8ClampedArray(width * height * 4);
    for (let y = 0; y < height; y++) data.set(rows.subarray(y * rowBytes, y * rowBytes + width * 4), y * width * 4);
    return { data, width, height };
  } finally {
    texture.destroy();
    buffer.destroy();
  }
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
  try {
    // Frames of videos go over a canvas: they have no alpha worth keeping, and copying one to a texture kills SwiftShader's process.
    const device = isVideo(image) || isFrame(image) ? undefined : await readerDevice();
    if (device && fits(device, width, height)) return await throughTexture(device, image as GPUCopyExternalImageSource, width, height);
    // Too large for a texture, or no WebGPU: still right for what is opaque.
    const drawable = "data" in image ? await createImageBitmap(image as ImageData) : (image as ImageBitmap);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
    context.drawImage(drawable, 0, 0);
    return context.getImageData(0, 0, width, height);
  } catch (cause) {
    throw unreadable(cause);
  }
}

/** Decodes a file with the browser's own decoder. @throws EngineError bad-image */
export async function decodeNative({ bytes, format, check }: NativeJob): Promise<RgbaPixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), AS_STORED);
  } catch (cause) {
    throw new EngineError("bad-image", `the browser cannot decode the ${format} file: ${(cause as Error).message}`, {
      hint: "the file is damaged or of a kind that this browser does not know: convert it to PNG or JPEG",
      cause,
    });
  }
  try {
    return (await pixelsOf(bitmap, check))!;
  } finally {
    bitmap.close();
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
