import { EngineError } from "../../src/errors.ts";
import type { ImageLike } from "../../src/index.ts";
import { readDimensions } from "../../src/media/dimensions.ts";
import { isPicture, sniff } from "../../src/media/sniff.ts";
import { make } from "./dom.ts";

/** Something to ask about: a picture, or the frames of a video. */
export interface Picture {
  name: string;
  kind: "image" | "video";
  /** What the model gets: one image (several take one `<image>` together), or the video's frames. */
  images: ImageLike[];
  width: number;
  height: number;
  /** Address of what is shown, one for each of `images`. */
  previews: string[];
  /** Most tiles, where an imported conversation says it. */
  maxTiles?: number | undefined;
}

/** How many moments of a video the model sees. */
const FRAMES = 4;

/** Opens a picture or a video. @throws EngineError bad-image */
export async function openPicture(file: File): Promise<Picture> {
  if (file.type.startsWith("video/")) return openVideo(file);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const format = sniff(bytes);
  const preview = URL.createObjectURL(file);
  const picture = (image: ImageLike, { width, height }: { width: number; height: number }): Picture => ({
    ...{ name: file.name, kind: "image", images: [image], width, height, previews: [preview] },
  });
  if (format === "png" || format === "jpeg") return picture(file, await readDimensions(bytes));
  try {
    // WebP, AVIF, GIF, SVG…: what the browser shows is what the model gets.
    const image = new Image();
    image.src = preview;
    await image.decode();
    const bitmap = await createImageBitmap(image, { premultiplyAlpha: "none" });
    return picture(isPicture(format) ? file : bitmap, bitmap); // as a file it stays small in a conversation that is kept
  } catch (cause) {
    throw new EngineError("bad-image", `${file.name} is not a picture or video that this browser can read`, {
      hint: "choose a PNG or JPEG file",
      cause,
    });
  }
}

/** Takes a frame from the middle of each of `FRAMES` equal parts, by seeking. */
async function openVideo(file: File): Promise<Picture> {
  const video = make("video", { muted: true, preload: "auto", playsInline: true });
  const event = (name: string) =>
    new Promise<void>((resolve, reject) => {
      video.addEventListener(name, () => resolve(), { once: true });
      video.addEventListener("error", () => reject(video.error), { once: true });
    });
  try {
    video.src = URL.createObjectURL(file);
    await event("loadeddata");
    if (!Number.isFinite(video.duration)) {
      // Recordings often come without a length; seeking past the end finds it.
      video.currentTime = 1e9;
      await event("seeked");
    }
    const { duration, videoWidth: width, videoHeight: height } = video;
    const frames: ImageBitmap[] = [];
    const previews: string[] = [];
    for (let i = 0; i < FRAMES; i++) {
      video.currentTime = (duration * (i + 0.5)) / FRAMES;
      await event("seeked");
      const bitmap = await createImageBitmap(video);
      frames.push(bitmap);
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
      previews.push(URL.createObjectURL(await canvas.convertToBlob()));
    }
    return { name: file.name, kind: "video", images: frames, width, height, previews };
  } catch (cause) {
    throw new EngineError("bad-image", `${file.name} is not a video that this browser can play`, {
      hint: "convert it to WebM or MP4",
      cause,
    });
  } finally {
    URL.revokeObjectURL(video.src);
  }
}
