import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { checkDimensions, type RgbImage } from "../media/image.ts";
import { rgbFromPixels } from "../media/pixels.ts";
import { resize } from "../media/resize.ts";
import { sampleFrameIndices } from "../media/video.ts";
import type { OpenVideo } from "../platform/platform.ts";
import { bytesAt, isUrl } from "./address.ts";
import type { Clip } from "./asking.ts";
import type { PictureOptions } from "./image-options.ts";
import { isBlob } from "./images.ts";

/** Whatever reading a video throws is said of the video. */
function clipError(cause: unknown, signal: AbortSignal | undefined): unknown {
  if (cause instanceof EngineError || signal?.aborted) return cause;
  const message = String((cause as Error | undefined)?.message).slice(0, 200);
  return new EngineError("bad-image", `the video cannot be read: ${message}`, { hint: "Fetch or export it again, as MP4 or WebM.", cause });
}

/**
 * Opens a clip and chooses its frames.
 * @throws EngineError bad-image, bad-input (also where the bound holds no frame), network, aborted
 */
export async function openClip(
  { src, frames, bound }: Clip,
  settings: PictureOptions,
  signal?: AbortSignal,
): Promise<OpenVideo & { indices: readonly number[] }> {
  const path = typeof src === "string" && /^file:/i.test(src) ? platform.pathOfUrl(src) : src;
  const bytes = typeof path !== "string" || (platform.hasSystem && !isUrl(path)) ? path : await bytesAt(path, "the video", signal);
  const check = (width: number, height: number) => checkDimensions("video", width, height, settings);
  try {
    const video = typeof bytes === "string" || isBlob(bytes) ? bytes : new Uint8Array(bytes);
    const opened = await platform.openVideo({ video, check, tolerant: settings.allowTruncated ?? false, signal });
    try {
      return { ...opened, indices: sampleFrameIndices(opened.frames, frames, { fps: opened.fps, bound }) };
    } catch (error) {
      await opened.close();
      throw error;
    }
  } catch (cause) {
    throw clipError(cause, signal);
  }
}

/** The chosen frames, each already of a tile's size, which is all that the model sees of it: a clip of 4K would fill the memory. */
export async function clipFrames(clip: Clip, settings: PictureOptions, tileSize: number, signal: AbortSignal): Promise<RgbImage[]> {
  const { indices, read, close } = await openClip(clip, settings, signal);
  try {
    const once = [...new Set(indices)];
    const tiles = new Map<number, RgbImage>();
    for await (const pixels of read(once)) tiles.set(once[tiles.size]!, resize(rgbFromPixels(pixels, settings), tileSize, tileSize));
    return indices.map((index) => tiles.get(index)!);
  } catch (cause) {
    throw clipError(cause, signal);
  } finally {
    await close();
  }
}
