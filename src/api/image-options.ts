import type { ImageLimits } from "../media/image.ts";

/** The longest file that is taken for a picture, in bytes: photos of 200 million pixels are far below it. */
export const MOST_BYTES = 2 ** 29;

/**
 * Who decodes pictures.
 *
 * `auto` (the default): PNG, JPEG and BMP are decoded by this library, to the same pixels in Node and in every browser, Pillow's, which upstream
 * uses, or for JPEG files of less than a million pixels up to 3 levels from them; all published numbers are for it. WebP, GIF, TIFF, AVIF and
 * HEIC are decoded by the browser, and in Node by the packages `sharp` and, for HEIC, `libheif-js`, where they are installed.
 *
 * `js`: what this library decodes itself, nothing else. `native`: JPEG, too, by the browser or by sharp; each browser rounds as it likes.
 */
export type ImageDecoder = "auto" | "js" | "native";

export interface ImageOptions extends ImageLimits {
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
