import { EngineError, late } from "../errors.ts";
import { wrong } from "../options.ts";
import type { decodeInThread } from "./decode-client.ts";
import { readDimensions } from "./dimensions.ts";
import { isSound } from "./huffman-walk.ts";
import { badImage, checkDimensions, DAMAGED, type ImageLimits, type RgbImage } from "./image.ts";
import { decodeWithJs } from "./jpeg.ts";
import { type JpegParts, readJpeg } from "./jpeg-structure.ts";

/** How a picture's file is decoded. */
export interface DecodeOptions extends ImageLimits {
  /** Put before messages: a file name, "image 2". */
  name?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** From this size on pictures are decoded in a thread of their own, and JPEGs by libjpeg-turbo. */
const LARGE = 1_000_000; // pixels

/**
 * Decodes a PNG or JPEG file to RGB as Pillow's `Image.open(f).convert("RGB")` does: no EXIF rotation, no colour
 * management, alpha dropped. The declared size is checked before anything is allocated.
 *
 * PNG gives Pillow's very pixels. So does JPEG of a million pixels and more, and where the data are damaged: libjpeg-turbo decodes it in
 * a worker thread. Smaller JPEGs are decoded by jpeg-js, a level or two from Pillow's. Which of the two goes by the file alone; only
 * where no worker can be started jpeg-js takes all, after a warning on the console.
 *
 * @throws EngineError bad-image for everything that is wrong with the file, bad-input for wrong options, aborted
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<RgbImage> {
  if (!(bytes instanceof Uint8Array)) throw wrong("what decodeImage got", bytes, "a Uint8Array");
  try {
    const { format, width, height } = await readDimensions(bytes);
    checkDimensions(format.toUpperCase(), width, height, options);
    return await (format === "png" ? png(bytes, width * height, options) : jpeg(bytes, width * height, options));
  } catch (error) {
    throw named(error, options.name);
  }
}

/** What talks to the thread comes with the first picture for it. */
const inThread: typeof decodeInThread = async (...job) =>
  (await late("the thread for large pictures", import("./decode-client.ts"))).decodeInThread(...job);

const limitsOf = ({ maxPixels, maxSide, allowTruncated }: ImageLimits): ImageLimits => ({ maxPixels, maxSide, allowTruncated });

async function png(bytes: Uint8Array, pixels: number, options: DecodeOptions): Promise<RgbImage> {
  const limits = limitsOf(options);
  const elsewhere = pixels < LARGE ? undefined : await inThread({ format: "png", bytes, limits }, pixels, options.signal);
  return elsewhere ?? (await late("the decoder of PNGs", import("./png.ts"))).decodePng(bytes, limits);
}

async function jpeg(bytes: Uint8Array, pixels: number, options: DecodeOptions): Promise<RgbImage> {
  const limits = limitsOf(options);
  let failed: unknown;
  if (pixels < LARGE) {
    const parts = readJpeg(bytes, limits);
    try {
      if (suitsJs(parts)) return await withJs(parts);
    } catch (error) {
      if (parts.frame.components.length === 4) throw error; // libjpeg-turbo gives CMYK out as CMYK only
      failed = error;
    }
  }
  const elsewhere = await inThread({ format: "jpeg", bytes, limits }, pixels, options.signal);
  if (elsewhere) return elsewhere;
  if (failed) throw failed;
  const parts = readJpeg(bytes, limits);
  if (suitsJs(parts)) return withJs(parts);
  throw badImage(
    "the JPEG's data are damaged so that only libjpeg finds its way, which runs in a worker, and none can be started here",
    DAMAGED,
  );
}

/** Arithmetic-coded JPEGs, which jpeg-js does not know, are so rare that what turns them into others comes with the first one. */
const withJs = async (parts: JpegParts): Promise<RgbImage> =>
  decodeWithJs(
    parts.frame.arithmetic ? (await late("the decoder of arithmetic-coded JPEGs", import("./transcode.ts"))).huffmanCoded(parts) : parts,
  );

/** Whether jpeg-js makes the same of a file as libjpeg, but for rounding. */
function suitsJs({ frame, orderly, scans }: JpegParts): boolean {
  if (!orderly || frame.progressive || frame.arithmetic || frame.components.length === 4) return orderly;
  return scans.every((scan) => isSound(frame, scan));
}

/** Puts the picture's name before the message of an error. What is not an error of ours becomes `bad-image`. */
function named(error: unknown, name: string | undefined): EngineError {
  const known = error instanceof EngineError ? error : badImage("the picture cannot be decoded", DAMAGED, error);
  if (name === undefined) return known;
  const { code, message, hint, cause } = known;
  return new EngineError(code, `${name}: ${message}`, { ...(hint === undefined ? {} : { hint }), cause });
}
