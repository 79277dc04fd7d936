import { badImage } from "./image.ts";
import { readJpegFrame } from "./jpeg-structure.ts";
import { readPngHeader } from "./png-structure.ts";

export type ImageFormat =
  | "png"
  | "jpeg"
  | "gif"
  | "webp"
  | "bmp"
  | "tiff"
  | "avif"
  | "heic"
  | "jxl"
  | "jp2"
  | "ico"
  | "psd"
  | "svg"
  | "unknown";

/** [format, offset, magic bytes as latin-1]; the first match wins. */
const MAGIC: readonly (readonly [ImageFormat, number, string])[] = [
  ["png", 0, "\x89PNG"],
  ["jpeg", 0, "\xff\xd8\xff"],
  ["gif", 0, "GIF87a"],
  ["gif", 0, "GIF89a"],
  ["webp", 8, "WEBP"],
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
  ["jxl", 0, "\xff\x0a"],
  ["jxl", 0, "\0\0\0\x0cJXL "],
  ["jp2", 0, "\0\0\0\x0cjP  "],
  ["jp2", 0, "\xff\x4f\xff\x51"],
  ["ico", 0, "\0\0\x01\0"],
  ["psd", 0, "8BPS"],
];

/** Tells an image format by its magic bytes; names and MIME types are never trusted. */
export function sniff(bytes: Uint8Array): ImageFormat {
  for (const [format, offset, magic] of MAGIC) {
    if (startsWith(bytes, offset, magic) && (format !== "webp" || startsWith(bytes, 0, "RIFF"))) return format;
  }
  // SVG is text: optional byte order mark and XML prologue, then <svg.
  const head = String.fromCharCode(...bytes.subarray(0, 512)).replace(/^\xef\xbb\xbf/, "");
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

/** The error for bytes that are neither PNG nor JPEG. */
export function unsupported(format: ImageFormat, bytes: Uint8Array): Error {
  const hint = "Convert the image to PNG or JPEG, or pass decoded pixels as { data, width, height }.";
  if (format !== "unknown") return badImage(`the image is a ${format.toUpperCase()} file, PNG or JPEG is needed`, hint);
  if (bytes.length === 0) return badImage("the image is empty (0 bytes), a PNG or JPEG file is needed", hint);
  const first = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return badImage(`the image starts with the bytes ${first}, which is no image format known here; PNG or JPEG is needed`, hint);
}

function startsWith(bytes: Uint8Array, offset: number, magic: string): boolean {
  if (bytes.length < offset + magic.length) return false;
  for (let i = 0; i < magic.length; i++) if (bytes[offset + i] !== magic.charCodeAt(i)) return false;
  return true;
}
