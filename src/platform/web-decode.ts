import { EngineError } from "../errors.ts";
import type { NativeJob, RgbaPixels } from "./platform.ts";
import { AS_STORED, pixelsOf } from "./web-images.ts";

/** Decodes a file with the browser's own decoder. @throws EngineError bad-image */
export async function decodeNative({ bytes, format, check }: NativeJob): Promise<RgbaPixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), AS_STORED);
  } catch (cause) {
    const hint = "the file is damaged or of a kind that this browser does not know: convert it to PNG or JPEG";
    throw new EngineError("bad-image", `the browser cannot decode the ${format} file: ${(cause as Error).message}`, { hint, cause });
  }
  try {
    return (await pixelsOf(bitmap, check))!;
  } finally {
    bitmap.close();
  }
}
