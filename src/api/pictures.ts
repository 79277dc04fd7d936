import { EngineError } from "../errors.ts";
import { sniff } from "../media/sniff.ts";
import { has, wrong } from "../options.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import { GIVE, type ImageLike, isBlob, isBuffer, isUrlObject, type RawImage } from "./images.ts";

/** Raw pixels as JSON holds them: `data` in base64. */
export interface StoredPixels extends Omit<RawImage, "data"> {
  data: string;
}

/** What may be given as a picture: an image, or what JSON has made of one. */
export type Source = ImageLike | StoredPixels;

/** A picture that was asked about: what takes one `<image>`. Several sources are the combined form: one `<image>` takes the tiles of all. */
export interface Picture {
  /** How messages call it: `image 2`. */
  name: string;
  sources: readonly Source[];
  /** Most tiles of each source; where absent, what the request says. */
  maxTiles?: number | undefined;
  /** Where it stands in a history: the part as it was given, which may be one of ours. */
  part?: object | undefined;
  /** Names the part of a history that it came from, where the part itself has stayed in the page. */
  key?: string | undefined;
}

/** Whether a value is raw pixels: `{ data, width, height }`. */
export const isPixels = (value: object): value is RawImage | StoredPixels => has(value, "data", "width", "height");
/** Objects that only a page has: an img, a canvas, a video, a frame of one, a bitmap. */
const isShown = (value: object): boolean =>
  ["naturalWidth", "getContext", "videoWidth", "displayWidth"].some((name) => name in value) || has(value, "width", "height", "close");

/** Checks the shape of a picture; its content is looked at later. @throws EngineError bad-input */
function source(value: unknown, name: string): Source {
  if (typeof value === "string") {
    if (value.trim() === "") throw wrong(name, value, "a picture", GIVE);
    return value;
  }
  const known =
    typeof value === "object" &&
    value !== null &&
    (isUrlObject(value) || isBuffer(value) || ArrayBuffer.isView(value) || isBlob(value) || isPixels(value) || isShown(value));
  if (!known) throw wrong(name, value, "a picture", GIVE);
  return value as Source;
}

/** Whether a value is a list, of whatever kind: an array, or a page's FileList. Bytes are none. */
export const isList = (value: unknown): value is ArrayLike<unknown> & Iterable<unknown> =>
  Array.isArray(value) ||
  (typeof value === "object" &&
    value !== null &&
    Symbol.iterator in value &&
    !ArrayBuffer.isView(value) &&
    typeof (value as { length?: unknown }).length === "number");

/** One picture, or a list of those that take one `<image>` together. @throws EngineError bad-input */
export function picture(value: unknown, name: string): Picture {
  if (!isList(value)) return { name, sources: [source(value, name)] };
  const sources = Array.from(value, (each, i) => source(each, value.length > 1 ? `${name}.${i + 1}` : name));
  if (sources.length === 0) throw wrong(name, value, "at least one picture");
  return { name, sources };
}

/** A list of pictures, called `image 1`, `image 2`, … @throws EngineError bad-input */
export function pictures(value: unknown, name: string, each: string, of = ""): Picture[] {
  if (!isList(value))
    throw wrong(name, value, "a list of pictures", typeof value === "string" ? `write ${name}: ["…"]` : `write ${name}: […]`);
  return Array.from(value, (entry, i) => picture(entry, `${each} ${i + 1}${of}`));
}

/** What a history holds of a source: a reference, bytes, or pixels. */
export type Held = string | Uint8Array | RawImage;

/**
 * The image part of a history: a path or an address as it was given, else the file's bytes or the pixels. `structuredClone` keeps bytes as
 * they are; JSON gets a data URL, which is made only when it is asked for.
 */
export class HeldImage {
  readonly type = "image";
  readonly image: Source | readonly Source[];
  readonly maxTiles: number;

  constructor(sources: readonly Source[], maxTiles: number) {
    this.image = sources.length === 1 ? sources[0]! : sources;
    this.maxTiles = maxTiles;
  }

  toJSON(): object {
    const { type, image, maxTiles } = this;
    return { type, image: Array.isArray(image) ? image.map(asJson) : asJson(image as Source), maxTiles };
  }
}

function asJson(image: Source): unknown {
  if (typeof image === "string") return image;
  if (image instanceof Uint8Array) return `data:${mediaType(image)};base64,${toBase64(image)}`;
  if (isPixels(image) && typeof image.data !== "string") {
    const { data, width, height, channels } = image as RawImage;
    return { data: toBase64(data), width, height, channels: channels ?? data.length / (width * height) };
  }
  if (isPixels(image)) return image;
  const hint = "take the history that a batch's onResult was given";
  throw new EngineError("bad-input", "a picture of this history was not read into memory, JSON cannot hold it", { hint });
}

function mediaType(bytes: Uint8Array): string {
  const format = sniff(bytes);
  return /^[a-z]+$/.test(format) && format !== "unknown" ? `image/${format}` : "application/octet-stream";
}

/** Pixels with their bytes, where JSON had them in base64. @throws EngineError bad-input */
export function rawPixels(image: RawImage | StoredPixels, name: string): RawImage {
  if (typeof image.data !== "string") {
    // Of another realm too; floats, say, would be cut off to 0 and 1.
    if (ArrayBuffer.isView(image.data) && /^Uint8(Clamped)?Array$/.test(image.data[Symbol.toStringTag])) return image as RawImage;
    throw wrong(`data of ${name}`, image.data, "a Uint8Array or Uint8ClampedArray", "scale other samples to 0..255");
  }
  const data = fromBase64(image.data);
  if (data === undefined) throw wrong(`data of ${name}`, image.data, "bytes, or base64 as JSON.stringify of a history writes it");
  return { ...image, data };
}
