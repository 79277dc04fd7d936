import { badImage } from "./image.ts";
import { readJpegFrame } from "./jpeg-frame.ts";
import { readPngHeader } from "./png-structure.ts";

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

export type ImageFormat = keyof typeof NAMES;

/** What is decoded by the browser, or in Node by packages; PNG, JPEG and BMP are decoded here. */
export const NATIVE: { readonly [Format in ImageFormat]?: string } = { gif: "GIF", webp: "WebP", tiff: "TIFF", avif: "AVIF", heic: "HEIC" };

/** [format, offset, magic bytes as latin-1]; the first match wins. */
const MAGIC: readonly (readonly [ImageFormat, number, string])[] = [
  ["png", 0, "\x89PNG"],
  ["jpeg", 0, "\xff\xd8\xff"],
  ["gif", 0, "GIF87a"],
  ["gif", 0, "GIF89a"],
  ["webp", 8, "WEBP"],
  ["avi", 8, "AVI "],
  ["bmp", 0, "BM"],
  ["tiff", 0, "II*\0"],
  ["tiff", 0, "MM\0*"],
  ["tiff", 0, "II+\0"],
  ["tiff", 0, "MM\0+"],
  ["avif", 4, "ftypavif"],
  ["avif", 4, "ftypavis"],
  ["heic", 4, "ftyphei"],
  ["heic", 4, "ftyphev"],
  ["heic", 4, "ftypmif1"],
  ["heic", 4, "ftypmsf1"],
  ["mp4", 4, "ftyp"],
  ["webm", 0, "\x1a\x45\xdf\xa3"],
  ["jxl", 0, "\xff\x0a"],
  ["jxl", 0, "\0\0\0\x0cJXL "],
  ["jp2", 0, "\0\0\0\x0cjP  "],
  ["jp2", 0, "\xff\x4f\xff\x51"],
  ["ico", 0, "\0\0\x01\0"],
  ["psd", 0, "8BPS"],
  ["pdf", 0, "%PDF"],
  ["lfs", 0, "version https://git-lfs"],
  ["gzip", 0, "\x1f\x8b"],
  ["zip", 0, "PK\x03\x04"],
];

/** Whether a format is one of pictures that are decoded, here or by others. */
export const isPicture = (format: ImageFormat): boolean => format in NATIVE || /^(png|jpeg|bmp)$/.test(format);

/** Tells an image format by its magic bytes; names and MIME types are never trusted. */
export function sniff(bytes: Uint8Array): ImageFormat {
  for (const [format, offset, magic] of MAGIC) {
    if (!startsWith(bytes, offset, magic) || ((format === "webp" || format === "avi") && !startsWith(bytes, 0, "RIFF"))) continue;
    // The same brand stands for two: those that it goes with tell.
    return format === "heic" && /avi[fs]/.test(String.fromCharCode(...bytes.subarray(8, 64))) ? "avif" : format;
  }
  // SVG is text: optional byte order mark and XML prologue, then <svg.
  const head = String.fromCharCode(...bytes.subarray(0, 512)).replace(/^\xef\xbb\xbf/, "");
  if (/^\s*(<!--[\s\S]*-->\s*)?(<!DOCTYPE html|<html)/i.test(head)) return "html";
  if (/^\s*(<svg[\s>]|(<\?xml|<!--|<!DOCTYPE svg)[\s\S]*<svg[\s>])/i.test(head)) return "svg";
  return "unknown";
}

/** The format and declared size of a PNG or JPEG, from its header alone: nothing is decoded or allocated. */
export function readDimensions(bytes: Uint8Array): { format: "png" | "jpeg"; width: number; height: number } {
  const format = sniff(bytes);
  switch (format) {
    case "png": {
      const { width, height } = readPngHeader(bytes);
      return { format, width, height };
    }
    case "jpeg": {
      const { width, height } = readJpegFrame(bytes);
      return { format, width, height };
    }
    default:
      throw unsupported(format, bytes);
  }
}

const CONVERT = "Convert it to PNG or JPEG, or give decoded pixels as { data, width, height }.";

/** What to do about files that are not pictures; all others are to be converted. */
const REMEDIES: Partial<Record<ImageFormat, string>> = {
  mp4: "Give some of its frames as pictures: video takes a list of them.",
  pdf: "Render its pages to PNG, and give those.",
  html: "The server sent a page in place of the picture: check the address.",
  lfs: "Fetch the file that it stands for: git lfs pull.",
  gzip: "Unpack it first.",
};

/** The error for bytes that are neither PNG nor JPEG. */
function unsupported(format: ImageFormat, bytes: Uint8Array): Error {
  if (format !== "unknown") {
    const video = format === "webm" || format === "avi" ? REMEDIES.mp4 : undefined;
    return badImage(`the picture is ${NAMES[format]}, a PNG or JPEG file is needed`, video ?? REMEDIES[format] ?? CONVERT);
  }
  if (bytes.length === 0) return badImage("the picture is empty (0 bytes), a PNG or JPEG file is needed", "Fetch or export it again.");
  const first = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return badImage(`the picture starts with the bytes ${first}, which is not a format known here; a PNG or JPEG file is needed`, CONVERT);
}

function startsWith(bytes: Uint8Array, offset: number, magic: string): boolean {
  if (bytes.length < offset + magic.length) return false;
  for (let i = 0; i < magic.length; i++) if (bytes[offset + i] !== magic.charCodeAt(i)) return false;
  return true;
}
