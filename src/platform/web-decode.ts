import { EngineError } from "../errors.ts";
import type { NativeJob, RgbaPixels } from "./platform.ts";
import { AS_STORED, isElement, pixelsOf } from "./web-images.ts";

/** The error for what the browser does not give out. */
export function unreadable(cause: unknown): EngineError {
  const tainted = (cause as DOMException).name === "SecurityError";
  return new EngineError("bad-image", `the browser does not give the picture's pixels out: ${(cause as Error).message}`, {
    hint: tainted ? 'load it from the page\'s own origin, or with CORS and crossorigin="anonymous"' : "give the picture's File or Blob",
    cause,
  });
}

/** The error for an image object that shows nothing. */
export const nothingShown = (width: number, height: number): EngineError =>
  new EngineError("bad-image", `the picture has ${width} x ${height} pixels to show`, {
    hint: "it is closed or has not loaded yet: wait for its load (img) or loadeddata (video) event",
  });

/** Decodes a file with the browser's own decoder. @throws EngineError bad-image */
export async function decodeNative({ bytes, format, check }: NativeJob): Promise<RgbaPixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), AS_STORED);
  } catch (cause) {
    throw new EngineError("bad-image", `the browser cannot decode the ${format} file: ${(cause as Error).message}`, {
      hint: "the file is damaged or of a kind that this browser does not know: convert it to PNG or JPEG",
      cause,
    });
  }
  try {
    return (await pixelsOf(bitmap, check))!;
  } finally {
    bitmap.close();
  }
}

/** The file behind an img element, from the browser's cache; `undefined` where it cannot be had or is of a kind only browsers decode. */
export async function fileOf(image: object): Promise<Blob | undefined> {
  if (!isElement(image) || !image.currentSrc) return undefined;
  try {
    const blob = await (await fetch(image.currentSrc)).blob();
    return /^image\/(png|jpeg)$/.test(blob.type) ? blob : undefined;
  } catch {
    return undefined; // a revoked blob: URL, or another origin without CORS: then it is drawn, or refused there
  }
}
