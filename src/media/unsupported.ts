import { badImage } from "./image.ts";

/** What files are called, with their article. */
const NAMES = {
  png: "a PNG file",
  jpeg: "a JPEG file",
  gif: "a GIF file",
  webp: "a WebP file",
  bmp: "a BMP file",
  tiff: "a TIFF file",
  avif: "an AVIF file",
  heic: "a HEIC file",
  jxl: "a JPEG XL file",
  jp2: "a JPEG 2000 file",
  ico: "an ICO file",
  psd: "a PSD file",
  svg: "an SVG file",
  pdf: "a PDF file",
  mp4: "an MP4 video",
  webm: "a WebM or Matroska video",
  avi: "an AVI video",
  html: "an HTML page",
  lfs: "a Git LFS pointer",
  gzip: "a gzip file",
  zip: "a ZIP file",
  unknown: "of no known format",
} as const;

/** A format as its first bytes tell it, of pictures and of files that are none. */
export type ImageFormat = keyof typeof NAMES;

const CONVERT = "Convert it to PNG or JPEG, or give decoded pixels as { data, width, height }.";

/** What to do about files that are not pictures; all others are to be converted. */
const REMEDIES: Partial<Record<ImageFormat, string>> = {
  mp4: "Give it as a video: { src }, or some of its frames.",
  pdf: "Render its pages to PNG, and give those.",
  html: "The server sent a page in place of the picture: check the address.",
  lfs: "Fetch the file that it stands for: git lfs pull.",
  gzip: "Unpack it first.",
};

/** The error for bytes that are neither PNG nor JPEG. */
export function unsupported(format: ImageFormat, bytes: Uint8Array): Error {
  if (format !== "unknown") {
    const video = format === "webm" || format === "avi" ? REMEDIES.mp4 : undefined;
    return badImage(`the picture is ${NAMES[format]}, a PNG or JPEG file is needed`, video ?? REMEDIES[format] ?? CONVERT);
  }
  if (bytes.length === 0) return badImage("the picture is empty (0 bytes), a PNG or JPEG file is needed", "Fetch or export it again.");
  const first = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return badImage(`the picture starts with the bytes ${first}, which is not a format known here; a PNG or JPEG file is needed`, CONVERT);
}
