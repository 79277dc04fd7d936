import type { ImageLimits } from "../media/image.ts";

/** The longest file that is taken for a picture, in bytes: photos of 200 million pixels are far below it. */
export const MOST_BYTES = 2 ** 29;

/**
 * Who decodes JPEG files. `js` (the default): the same pixels in Node and in every browser, Pillow's, which upstream uses, or for files of
 * less than a million pixels a level or two from them; all published numbers are for it. `native` (pages only): the browser's decoder,
 * but each browser rounds as it likes; it also takes what only browsers decode (WebP, AVIF, GIF). PNG is lossless and always `js`.
 */
export type ImageDecoder = "js" | "native";

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
