import type { ImageLimits } from "../media/image.ts";

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

/** How pictures are read. */
export interface PictureOptions {
  /** Most tiles of a picture, 1 to 40; by default what the model's configuration says, 12. */
  maxTiles?: number | undefined;
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels?: number | undefined;
  /** Pictures that are wider or higher are refused before they are decoded. */
  maxSide?: number | undefined;
  /** Takes a JPEG or PNG file that breaks off, with grey where it has no data; refused by default. */
  allowTruncated?: boolean | undefined;
  /** Who decodes pictures; `auto` by default, see `ImageDecoder`. */
  decoder?: ImageDecoder | undefined;
}

/** How one picture is read. */
export interface ImageOptions extends ImageLimits {
  /** Put before messages: "image 2". */
  name: string;
  decoder?: ImageDecoder | undefined;
  signal?: AbortSignal | undefined;
}
