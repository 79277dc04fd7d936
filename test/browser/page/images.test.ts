import { describe, expect, it } from "vitest";
import type { ImageOptions } from "../../../src/api/image-options.ts";
import { toRgb } from "../../../src/api/images.ts";
import { holdable } from "../../../src/api/tiling.ts";
import type { ImageLike } from "../../../src/index.ts";
import type { RgbImage } from "../../../src/media/image.ts";
import { tileImage } from "../../../src/media/tiles.ts";
import { portable } from "../../../src/platform/web-images.ts";
import { readRepository } from "./support.ts";

const blobOf = async (path: string, type = "image/png"): Promise<Blob> =>
  new Blob([(await readRepository(path)) as Uint8Array<ArrayBuffer>], { type });

/** The pixels of whatever may be given as a picture. */
async function rgbOf(image: ImageLike, options: ImageOptions = { name: "image 1" }): Promise<RgbImage> {
  const { held, rgb } = await holdable(image, options);
  return rgb ?? toRgb(held, options);
}

async function tilesOf(image: ImageLike, options: Partial<ImageOptions> = {}): Promise<Uint8Array> {
  const { tiles, count } = tileImage(await rgbOf(image, { name: "image 1", ...options }), { maxTiles: 6, tileSize: 112 });
  expect(count).toBeGreaterThan(0);
  return tiles;
}

/** How many values differ, and by how much at most. */
function difference(a: Uint8Array, b: Uint8Array): { count: number; largest: number } {
  expect(a.length).toBe(b.length);
  let [count, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (d > 0) count++;
    largest = Math.max(largest, d);
  }
  return { count, largest };
}

/** Chromium's, in no standard yet. */
declare class MediaStreamTrackGenerator extends MediaStreamTrack {
  constructor(init: { kind: "video" });
  readonly writable: WritableStream<VideoFrame>;
}

const SAME = { count: 0, largest: 0 };

async function imgOf(src: string): Promise<HTMLImageElement> {
  const img = new Image();
  img.src = src;
  await img.decode();
  return img;
}

const STRAIGHT: ImageBitmapOptions = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

/** A canvas of the page or of none, with the picture drawn on it. */
function drawn<C extends HTMLCanvasElement | OffscreenCanvas>(
  canvas: C,
  picture: ImageBitmap,
  settings?: CanvasRenderingContext2DSettings,
): C {
  canvas.width = picture.width;
  canvas.height = picture.height;
  (canvas.getContext("2d", settings) as OffscreenCanvasRenderingContext2D).drawImage(picture, 0, 0);
  return canvas;
}

/** What a picture may come as, made from one PNG file. */
const KINDS: Record<string, (file: Blob) => Promise<ImageLike>> = {
  Blob: async (file) => file,
  File: async (file) => new File([file], "a.png"),
  ArrayBuffer: (file) => file.arrayBuffer(),
  Uint8Array: async (file) => new Uint8Array(await file.arrayBuffer()),
  "blob: URL": async (file) => URL.createObjectURL(file),
  ImageBitmap: (file) => createImageBitmap(file, STRAIGHT),
  "img element": async (file) => imgOf(URL.createObjectURL(file)),
  "img element without its file": async (file) => {
    const url = URL.createObjectURL(file);
    const img = await imgOf(url);
    URL.revokeObjectURL(url);
    return img;
  },
};

/** What holds colours multiplied by alpha: lossless for opaque pictures only. */
const OPAQUE_KINDS: typeof KINDS = {
  "ImageBitmap by default": (file) => createImageBitmap(file),
  canvas: async (file) => drawn(document.createElement("canvas"), await createImageBitmap(file)),
  OffscreenCanvas: async (file) => drawn(new OffscreenCanvas(1, 1), await createImageBitmap(file)),
  ImageData: async (file) => {
    const picture = await createImageBitmap(file);
    const canvas = drawn(new OffscreenCanvas(1, 1), picture);
    return canvas.getContext("2d")!.getImageData(0, 0, picture.width, picture.height);
  },
  VideoFrame: async (file) => new VideoFrame(await createImageBitmap(file), { timestamp: 0 }),
  "video element": async (file) => {
    // Frames that go from a track to the element without a codec: no pixel changes.
    const track = new MediaStreamTrackGenerator({ kind: "video" });
    const writer = track.writable.getWriter();
    const video = document.createElement("video");
    video.muted = true;
    video.srcObject = new MediaStream([track]);
    const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    const playing = video.play();
    const bitmap = await createImageBitmap(file);
    // The first frame may come before anybody listens.
    const again = setInterval(() => void writer.write(new VideoFrame(bitmap, { timestamp: 0 })).catch(() => {}), 20);
    await playing;
    await shown;
    clearInterval(again);
    video.pause();
    return video;
  },
};

describe("images of a page", () => {
  it.each(Object.entries({ ...KINDS, ...OPAQUE_KINDS }))("%s: the tiles of the file", async (_, make) => {
    const file = await blobOf("test/fixtures/preprocess/s03-447x449.png");
    const want = await tilesOf(new Uint8Array(await file.arrayBuffer()));
    expect(difference(await tilesOf(await make(file)), want)).toEqual(SAME);
  });

  it.each(Object.entries(KINDS))("%s: alpha is dropped, colours under it stay", async (_, make) => {
    const file = await blobOf("test/fixtures/preprocess/s06-rgba.png");
    const want = await tilesOf(new Uint8Array(await file.arrayBuffer()));
    expect(difference(await tilesOf(await make(file)), want)).toEqual(SAME);
  });

  it("ImageData and raw pixels: alpha is dropped, colours under it stay", async () => {
    const data = new Uint8ClampedArray([200, 100, 50, 0, 10, 20, 30, 128]);
    const image = await rgbOf(new ImageData(data, 2, 1), { name: "image 1" });
    expect([...image.data]).toEqual([200, 100, 50, 10, 20, 30]);
    expect(await rgbOf({ data, width: 2, height: 1 }, { name: "image 1" })).toEqual(image);
  });

  it("a Display P3 canvas and ImageData become sRGB", async () => {
    const canvas = new OffscreenCanvas(8, 8);
    const context = canvas.getContext("2d", { colorSpace: "display-p3" })!;
    context.fillStyle = "rgb(180 90 40)"; // an sRGB colour: other numbers in P3
    context.fillRect(0, 0, 8, 8);
    const p3 = context.getImageData(0, 0, 8, 8);
    expect(p3.colorSpace).toBe("display-p3");
    expect(Math.abs(p3.data[0]! - 180)).toBeGreaterThan(3);
    for (const image of [canvas, p3]) {
      const { data } = await rgbOf(image, { name: "image 1" });
      for (const [i, want] of [180, 90, 40].entries()) expect(Math.abs(data[i]! - want)).toBeLessThanOrEqual(1); // 8 bits twice
    }
  });

  it("a video element gives the frame that it shows", async () => {
    const canvas = drawn(document.createElement("canvas"), await createImageBitmap(await blobOf("weights/nano/images/card-1.png")));
    const video = document.createElement("video");
    await expect(rgbOf(video, { name: "image 1" })).rejects.toThrow("image 1: the picture has 0 x 0 pixels to show");
    video.muted = true;
    const stream = canvas.captureStream();
    video.srcObject = stream;
    const played = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    // A stream has a frame whenever the canvas is drawn on; the first may come before anybody listens.
    const again = setInterval(() => canvas.getContext("2d")!.drawImage(canvas, 0, 0), 100);
    await video.play();
    await played;
    clearInterval(again);
    video.pause();
    // A stream may pass through YUV: a few levels. The element and a frame of it must agree to the byte.
    const seen = await tilesOf(video);
    const frame = new VideoFrame(video);
    expect(difference(await tilesOf(frame), seen)).toEqual(SAME);
    expect(difference(seen, await tilesOf(canvas)).largest).toBeLessThan(40);
    frame.close();
    await expect(rgbOf(frame, { name: "image 1" })).rejects.toMatchObject({ code: "bad-image" });
    for (const track of stream.getTracks()) track.stop();
  });

  it.each(Object.entries({ ...KINDS, ...OPAQUE_KINDS }))("%s: a worker gets the same", async (_, make) => {
    const file = await blobOf("test/fixtures/preprocess/s03-447x449.png");
    const image = await make(file);
    const moved = await portable(typeof image === "object" ? image : file);
    const { port1, port2 } = new MessageChannel();
    const arrived = new Promise<ImageLike>((resolve) => {
      port2.onmessage = ({ data }) => resolve(data);
    });
    port1.postMessage(moved.image, moved.transfer);
    expect(difference(await tilesOf(await arrived), await tilesOf(file))).toEqual(SAME);
  });
});

describe("JPEG decoders", () => {
  const files = ["images/card-4.jpg", "images/card-7.jpg", "images/sign.jpg"];

  it.each(files)("%s: the browser's decoder is within a few levels of ours", async (path) => {
    const file = await blobOf(`weights/nano/${path}`, "image/jpeg");
    const d = difference(await tilesOf(file, { decoder: "native" }), await tilesOf(file));
    console.log(`${path}: native differs from js in ${d.count} values by at most ${d.largest}`);
    expect(d.largest).toBeLessThanOrEqual(4);
  });

  it("EXIF orientation is not applied by either, though browsers do by default", async () => {
    const file = await blobOf("test/fixtures/preprocess/s12-exif6.jpg", "image/jpeg");
    const js = await rgbOf(file, { name: "image 1" });
    const native = await rgbOf(file, { name: "image 1", decoder: "native" });
    const shown = await createImageBitmap(file);
    expect([shown.width, shown.height]).toEqual([js.height, js.width]);
    expect([native.width, native.height]).toEqual([js.width, js.height]);
    expect(difference(native.data, js.data).largest).toBeLessThanOrEqual(4);
  });

  it("four components are ours in both: browsers differ in CMYK", async () => {
    const file = await blobOf("test/media/extra/j-cmyk.jpg", "image/jpeg");
    expect(await tilesOf(file, { decoder: "native" })).toEqual(await tilesOf(file));
  });

  it("native decodes what only browsers know, and says what is damaged", async () => {
    const canvas = drawn(new OffscreenCanvas(1, 1), await createImageBitmap(await blobOf("weights/nano/images/card-1.png")));
    const webp = await canvas.convertToBlob({ type: "image/webp", quality: 1 });
    const options = { name: "image 1" };
    await expect(rgbOf(webp, { ...options, decoder: "js" })).rejects.toThrow(
      'image 1: the picture is a WebP file, which decoder: "js" does not take',
    );
    for (const decoder of ["auto", "native", undefined] as const)
      expect((await rgbOf(webp, { ...options, decoder })).width).toBe(canvas.width);
    await expect(rgbOf(webp.slice(0, 40), { ...options, decoder: "native" })).rejects.toMatchObject({ code: "bad-image" });
  });

  it("addresses that a page cannot read, and what to give in their place", async () => {
    const refusal = (image: ImageLike) => rgbOf(image).catch(({ code, message, hint }) => `${code}: ${message} (${hint})`);
    const revoked = URL.createObjectURL(await blobOf("weights/nano/images/card-1.png"));
    URL.revokeObjectURL(revoked);
    expect(await refusal(revoked)).toMatch(
      /^bad-input: image 1 is "blob:http.*there is no Blob with this address, or no longer \(give the Blob itself, or /,
    );
    for (const path of ["card.png", "/images/card.png", "./card.png", "C:\\card.png"])
      expect(await refusal(path)).toBe(
        `bad-input: a page cannot read the local path ${JSON.stringify(path)} (give a File, a Blob or a whole address: new URL(path, location.href))`,
      );
    expect(await refusal("file:///card.png")).toMatch(/^bad-input: a page cannot read the local path "file:\/\/\/card.png"/);
    expect(await refusal("about:blank")).toMatch(/^bad-input: image 1 is "about:blank": addresses with "about" cannot be read here/);
    expect(await refusal(new URL("about:blank"))).toMatch(
      /^bad-input: image 1 is "about:blank": addresses with "about" cannot be read here/,
    );
  });
});
