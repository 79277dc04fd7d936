import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { decodeImage } from "../media/decode.ts";
import { checkDimensions, type RgbImage } from "../media/image.ts";
import { plainJpeg } from "../media/jpeg.ts";
import { rgbFromPixels } from "../media/pixels.ts";
import { readDimensions, sniff } from "../media/sniff.ts";
import { quoted, quotedPath } from "../options.ts";

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

/**
 * Who decodes JPEG files. `js` (the default): the same pixels in Node and in every browser, a level or two from Pillow's, which
 * upstream uses; all published numbers are for it. `native` (pages only): the browser's decoder, faster and off the page's thread,
 * but each browser rounds as it likes; it also takes what only browsers decode (WebP, AVIF, GIF). PNG is lossless and always `js`.
 */
export type ImageDecoder = "js" | "native";

async function fetchBytes(url: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(url, signal ? { signal } : {});
  } catch (cause) {
    if (signal?.aborted) throw new EngineError("aborted", "the operation was aborted", { cause });
    throw new EngineError("network", `cannot fetch ${url.slice(0, 200)}: ${(cause as Error).message}`, {
      hint: "check the address",
      cause,
    });
  }
  if (!response.ok)
    throw new EngineError("network", `${url.slice(0, 200)} answers ${response.status} ${response.statusText}`, {
      hint: "check the address",
    });
  return new Uint8Array(await response.arrayBuffer());
}

const has = (value: object, ...names: string[]): boolean => names.every((name) => name in value);

/** A file's pixels by the browser's decoder. EXIF and colour profile are taken out first: upstream heeds neither. */
async function decodeNatively(bytes: Uint8Array): Promise<RgbImage> {
  const format = sniff(bytes);
  if (format === "png") return decodeImage(bytes);
  let file: Uint8Array | undefined = bytes;
  if (format === "jpeg") {
    const { width, height } = readDimensions(bytes);
    checkDimensions("JPEG", width, height);
    file = plainJpeg(bytes);
  }
  return file ? rgbFromPixels(await platform.decodeNative(file)) : decodeImage(bytes);
}

export interface ImageOptions {
  /** Put before messages: "image 2". */
  name: string;
  decoder?: ImageDecoder | undefined;
  /** Most pixels, and most pixels a side. */
  maxPixels?: number | undefined;
  maxSide?: number | undefined;
  /** Whether a file that breaks off is taken. */
  allowTruncated?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** Decodes any `ImageLike` to RGB; alpha is dropped. @throws EngineError bad-image, bad-input, network, aborted */
export async function toRgb(image: ImageLike, options: ImageOptions): Promise<RgbImage> {
  const { name, decoder = "js" } = options;
  if (decoder !== "js" && decoder !== "native")
    throw new EngineError("bad-input", `decoder is ${JSON.stringify(decoder)}, supported: "js", "native"`);
  try {
    return await rgbOf(image, options);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "bad-image") throw error;
    const { code, message, hint, cause } = error;
    throw new EngineError(code, `${typeof image === "string" && !isUrl(image) ? quotedPath(image) : name}: ${message}`, {
      ...(hint ? { hint } : {}),
      cause,
    });
  }
}

const isUrl = (text: string): boolean => /^(https?|data|blob):/i.test(text);

/** The path that a `file:` URL names: percent signs, and on Windows drives, are the platform's affair. */
function pathOf(url: string): string {
  try {
    return platform.pathOfUrl(url);
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError("bad-input", `${quoted(url)} names no file: ${(cause as Error).message}`, { hint: "give its path", cause });
  }
}

async function rgbOf(image: ImageLike, { name, decoder, signal }: ImageOptions): Promise<RgbImage> {
  const decode = async (bytes: Uint8Array): Promise<RgbImage> => (decoder === "native" ? decodeNatively(bytes) : decodeImage(bytes));
  if (typeof image === "string") {
    if (isUrl(image)) return decode(await fetchBytes(image, signal));
    return decode(await platform.readFile(/^file:/i.test(image) ? pathOf(image) : image));
  }
  if (typeof image !== "object" || image === null)
    throw new EngineError("bad-input", `${name} is no image but ${image === null ? "null" : typeof image}`);
  if (image instanceof URL || (has(image, "href", "protocol") && !has(image, "naturalWidth"))) {
    const url = image as URL;
    return decode(await (url.protocol === "file:" ? platform.readFile(pathOf(url.href)) : fetchBytes(url.href, signal)));
  }
  if (ArrayBuffer.isView(image)) return decode(new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
  if (Object.prototype.toString.call(image) === "[object ArrayBuffer]") return decode(new Uint8Array(image as ArrayBuffer));
  if (has(image, "arrayBuffer", "size")) return decode(new Uint8Array(await (image as Blob).arrayBuffer()));
  // An ImageData in another colour space is converted as the other image objects are.
  if (has(image, "data", "width", "height") && ((image as Partial<ImageData>).colorSpace ?? "srgb") === "srgb")
    return rgbFromPixels(image as RawImage);
  const file = await platform.fileOf(image);
  if (file) return decode(new Uint8Array(await file.arrayBuffer()));
  const drawn = await platform.pixelsOf(image);
  if (drawn) return rgbFromPixels(drawn);
  throw new EngineError(
    "bad-input",
    `${name} is no image: an object with ${Object.keys(image).slice(0, 5).join(", ") || "nothing in it"}`,
    {
      hint: "give a path, a URL, a Blob, the bytes of a PNG or JPEG file, or { data, width, height }",
    },
  );
}
