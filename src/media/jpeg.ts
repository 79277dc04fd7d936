import decodeJpeg from "jpeg-js/lib/decoder.js"; // not the package: its encoder would come along
import { badImage, concat, DAMAGED, type RgbImage } from "./image.ts";
import { segment } from "./jpeg-segments.ts";
import type { JpegParts } from "./jpeg-structure.ts";
import { upsample } from "./upsample.ts";

/** Most pixels for jpeg-js: it needs 28 bytes for each of them. */
const MAX_PIXELS = 64_000_000;

/**
 * Decodes a Huffman-coded JPEG with jpeg-js, as near to Pillow (libjpeg-turbo) as it allows. The caller has checked the declared size.
 *
 * jpeg-js gets a file that we write anew, without application segments, so that *we* choose the colour conversion: from its
 * three components as they are come libjpeg's chroma upsampling and its integer YCbCr → RGB, which leaves one difference to Pillow: the
 * rounding of the inverse DCT (a level or two). Four components cannot be had raw; jpeg-js converts those itself, within a level
 * of Pillow's rule but for subsampled YCCK. EXIF orientation is not applied, as upstream does not.
 *
 * @throws EngineError bad-image
 */
export function decodeWithJs(parts: JpegParts): RgbImage {
  const { width, height, components } = parts.frame;
  const pixels = width * height;
  if (pixels > MAX_PIXELS) {
    throw badImage(
      `the JPEG is ${width} x ${height} pixels, jpeg-js decodes ${MAX_PIXELS} at most; larger ones, if not CMYK, are decoded in a worker, where one can be started`,
      "Scale the picture down, or convert it to RGB.",
    );
  }
  let decoded: { width: number; height: number; data: Uint8Array };
  try {
    decoded = decodeJpeg(forJs(parts), {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      colorTransform: false,
      maxResolutionInMP: Math.ceil(pixels / 1e6),
      // It counts 4 + 1 + 1 bytes a sample (coefficients, planes, interleaved) over whole groups of up to 32 x 32 pixels, and the result.
      maxMemoryUsageInMB: 64 + Math.ceil((28 * Math.ceil(width / 32) * Math.ceil(height / 32) * 1024) / 2 ** 20),
    });
  } catch (cause) {
    throw badImage("the JPEG's compressed pixels are damaged: jpeg-js cannot decode them", DAMAGED, cause);
  }
  if (decoded.width !== width || decoded.height !== height || decoded.data.length !== pixels * 3) {
    throw badImage(`the JPEG decoded to ${decoded.width} x ${decoded.height} pixels, its header says ${width} x ${height}`, DAMAGED);
  }
  const data = components.length === 3 ? colour(decoded.data, parts) : decoded.data;
  return { width, height, data };
}

/** samples: [height, width, 3], chroma repeated → RGB [height, width, 3]. */
function colour(samples: Uint8Array, parts: JpegParts): Uint8Array {
  const { width, height, components } = parts.frame;
  const [maxH, maxV] = [Math.max(...components.map(({ h }) => h)), Math.max(...components.map(({ v }) => v))];
  components.forEach(({ h, v }, channel) => {
    if (h === maxH && v === maxV) return;
    const plane = upsample(samples, width, height, channel, maxH / h, maxV / v);
    for (let i = 0, to = channel; i < plane.length; i++, to += 3) samples[to] = plane[i]!;
  });
  if (isYcc(parts)) yccToRgb(samples);
  return samples;
}

/** libjpeg's `default_decompress_parms`: JFIF means YCbCr, then the Adobe segment decides, then the component ids. */
function isYcc({ frame, jfif, adobeTransform }: JpegParts): boolean {
  if (jfif) return true;
  if (adobeTransform !== undefined) return adobeTransform !== 0;
  return String.fromCharCode(...frame.components.map(({ id }) => id)) !== "RGB";
}

/** In place, with libjpeg's 16-bit fixed point (`jdcolor.c`). */
function yccToRgb(samples: Uint8Array): void {
  for (let i = 0; i < samples.length; i += 3) {
    const y = samples[i]!;
    const cb = samples[i + 1]! - 128;
    const cr = samples[i + 2]! - 128;
    samples[i] = clamp(y + ((91881 * cr + 32768) >> 16)); // 1.402
    samples[i + 1] = clamp(y + ((-22554 * cb - 46802 * cr + 32768) >> 16)); // 0.34414, 0.71414
    samples[i + 2] = clamp(y + ((116130 * cb + 32768) >> 16)); // 1.772
  }
}

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * The same JPEG, mended and without EXIF, colour profile and comments, for a decoder that would rotate or convert by them: upstream
 * does neither. An Adobe segment tells the colour space, whatever told it in the file.
 */
export function plainJpeg(parts: JpegParts): Uint8Array {
  return assemble(parts, parts.frame.components.length === 3 ? [adobe(isYcc(parts) ? 1 : 0)] : []);
}

/** The same for jpeg-js, which is to leave three components as they are, and insists on an Adobe segment for four. */
function forJs(parts: JpegParts): Uint8Array {
  return assemble(parts, parts.frame.components.length === 4 ? [adobe(parts.adobeTransform ? 2 : 0)] : []);
}

const assemble = (parts: JpegParts, start: Uint8Array[]): Uint8Array =>
  concat([Uint8Array.of(0xff, 0xd8), ...start, ...parts.segments, Uint8Array.of(0xff, 0xd9)]);

/** transform: 0 none (RGB, CMYK), 1 YCbCr, 2 YCCK. */
const adobe = (transform: number): Uint8Array =>
  segment(0xee, [...[..."Adobe"].map((letter) => letter.charCodeAt(0)), 0, 100, 0, 0, 0, 0, transform]);
