import type { ImageFormat } from "./unsupported.ts";

export type { ImageFormat };

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

function startsWith(bytes: Uint8Array, offset: number, magic: string): boolean {
  if (bytes.length < offset + magic.length) return false;
  for (let i = 0; i < magic.length; i++) if (bytes[offset + i] !== magic.charCodeAt(i)) return false;
  return true;
}
