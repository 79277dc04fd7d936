import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { decodeImage } from "../media/decode.ts";
import type { RgbImage } from "../media/image.ts";
import { rgbFromPixels } from "../media/pixels.ts";

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

/** Decodes any `ImageLike` to RGB. `name` is put before messages. */
export async function toRgb(image: ImageLike, name: string, signal?: AbortSignal): Promise<RgbImage> {
  const decode = (bytes: Uint8Array, from = name): RgbImage => decodeImage(bytes, { name: from });
  if (typeof image === "string") {
    if (/^(https?|data):/i.test(image)) return decode(await fetchBytes(image, signal));
    return decode(await platform.readFile(image), image);
  }
  if (typeof image !== "object" || image === null)
    throw new EngineError("bad-input", `${name} is no image but ${image === null ? "null" : typeof image}`);
  if (image instanceof URL || (has(image, "href", "protocol") && !has(image, "naturalWidth"))) {
    const url = image as URL;
    return url.protocol === "file:"
      ? decode(await platform.readFile(decodeURIComponent(url.pathname)), name)
      : decode(await fetchBytes(url.href, signal));
  }
  if (ArrayBuffer.isView(image)) return decode(new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
  if (Object.prototype.toString.call(image) === "[object ArrayBuffer]") return decode(new Uint8Array(image as ArrayBuffer));
  if (has(image, "arrayBuffer", "size")) return decode(new Uint8Array(await (image as Blob).arrayBuffer()));
  if (has(image, "data", "width", "height")) return rgbFromPixels(image as RawImage);
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
