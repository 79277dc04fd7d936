import { EngineError } from "../../src/errors.ts";
import type { ImageLike } from "../../src/index.ts";
import { readDimensions, sniff } from "../../src/media/sniff.ts";
import { chooseGrid } from "../../src/media/tiles.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { make } from "./dom.ts";

/** Something to ask about: a picture, or the frames of a video. */
export interface Picture {
  name: string;
  kind: "image" | "video";
  /** What the model gets: one image, or the video's frames. */
  images: ImageLike[];
  width: number;
  height: number;
  /** Address of what is shown, one for each of `images`. */
  previews: string[];
}

/** How many moments of a video the model sees. */
const FRAMES = 4;

/** Opens a picture or a video. @throws EngineError bad-image */
export async function openPicture(file: File): Promise<Picture> {
  if (file.type.startsWith("video/")) return openVideo(file);
  const head = new Uint8Array(await file.arrayBuffer());
  const format = sniff(head);
  const preview = URL.createObjectURL(file);
  if (format === "png" || format === "jpeg") {
    const { width, height } = await readDimensions(head);
    return { name: file.name, kind: "image", images: [file], width, height, previews: [preview] };
  }
  try {
    // WebP, AVIF, GIF, SVG…: what the browser shows is what the model gets.
    const image = new Image();
    image.src = preview;
    await image.decode();
    const bitmap = await createImageBitmap(image, { premultiplyAlpha: "none" });
    return { name: file.name, kind: "image", images: [bitmap], width: bitmap.width, height: bitmap.height, previews: [preview] };
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

/** The picture with the tiles that the model sees drawn over it. `config` is unknown until a model is loaded. */
export function showPicture(picture: Picture, config: ModelConfig | undefined): HTMLElement {
  const { name, kind, width, height, previews } = picture;
  const tiled = kind === "image" && config;
  const [columns, rows] = tiled
    ? chooseGrid(width, height, {
        minTiles: config.minTiles,
        maxTiles: config.dynamicTiles ? config.maxTiles : 1,
        tileSize: config.tileSize,
      })
    : [1, 1];
  const cells = columns * rows;
  const shown = previews.map((src, i) => {
    const frame = make("div", { className: "picture" }, make("img", { src, alt: kind === "video" ? `${name}, frame ${i + 1}` : name }));
    frame.style.aspectRatio = `${width} / ${height}`;
    frame.style.setProperty("--shape", String(width / height));
    if (tiled && cells > 1) {
      const grid = make("div", { className: "tiles", ariaHidden: "true" });
      grid.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
      grid.append(...Array.from({ length: cells }, (_, cell) => make("span", {}, String(cell + 1))));
      frame.append(grid);
    }
    return frame;
  });
  const tiles = cells > 1 ? `${cells} tiles (${columns} × ${rows})${config?.thumbnail ? " + the whole" : ""}` : "1 tile";
  const text = kind === "video" ? `${previews.length} frames, 1 tile each` : config ? tiles : "";
  return make(
    "figure",
    { className: kind },
    make("div", { className: "frames" }, ...shown),
    make("figcaption", {}, make("b", {}, name), ` ${width} × ${height}${text ? ` · ${text}` : ""}`),
  );
}
