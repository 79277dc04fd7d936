import { describe, expect, inject, it } from "vitest";
import type { Clip } from "../../../src/api/asking.ts";
import { clipFrames } from "../../../src/api/clip.ts";
import type { PictureOptions } from "../../../src/api/image-options.ts";
import { toRgb } from "../../../src/api/images.ts";
import { decodePng } from "../../../src/media/png.ts";
import { sampleFrameIndices } from "../../../src/media/video.ts";
import type { Pixels } from "../../../src/platform/platform.ts";
import { platform } from "../../../src/platform/web.ts";
import { readRepository } from "./support.ts";

const file = (name: string) => readRepository(`test/fixtures/video/${name}`);
const frames = async (name: string, options: Partial<Clip> = {}, settings: PictureOptions = {}) =>
  clipFrames({ src: await file(name), frames: 3, bound: undefined, ...options }, settings, 56, new AbortController().signal);

/** The clips of each row of docs/library.md's table, with how many frames they have. */
const ROWS: [codec: string, clips: Record<string, number>][] = [
  ["H.264", { "h264.mp4": 20, "turned.mp4": 20 }],
  ["VP8", { "vp8.webm": 20 }],
  ["VP9", { "vp9.webm": 20, "turned-vp9.mp4": 20, "vfr.webm": 16 }],
  ["AV1", { "av1.mp4": 20 }],
];
const SHOWN = [0, 7, 15]; // the frames in NAME.png, one below the other, as ffmpeg shows them
const FPS = 10; // of all but vfr.webm

interface Off {
  max: number;
  mean: number;
}

/** How far a frame is from ffmpeg's, in levels: at most, and on average. @param place in SHOWN */
async function differenceAt(name: string, place: number, { data, width, height }: Pixels): Promise<Off> {
  const wanted = await decodePng(await file(`${name}.png`));
  expect([width, height]).toEqual([wanted.width, wanted.height / SHOWN.length]);
  const pixels = width * height;
  const channels = data.length / pixels;
  let [max, sum] = [0, 0];
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < 3; c++) {
      const off = Math.abs(data[i * channels + c]! - wanted.data[3 * (place * pixels + i) + c]!);
      max = Math.max(max, off);
      sum += off;
    }
  return { max, mean: sum / (3 * pixels) };
}

const together = (all: readonly Off[]): Off => ({
  max: Math.max(...all.map(({ max }) => max)),
  mean: all.reduce((sum, { mean }) => sum + mean, 0) / all.length,
});

async function difference(name: string, found: readonly Pixels[]): Promise<Off> {
  expect(found.length).toBe(SHOWN.length);
  return together(await Promise.all(found.map((pixels, place) => differenceAt(name, place, pixels))));
}

/** How far the frames are that a video element shows: a page hands it over as a picture. */
async function differenceOfShown(name: string): Promise<Off> {
  const video = document.createElement("video");
  const happens = (event: string) => new Promise((resolve) => video.addEventListener(event, resolve, { once: true }));
  video.muted = true;
  const opened = happens("loadeddata");
  video.src = URL.createObjectURL(new Blob([(await file(name)) as Uint8Array<ArrayBuffer>]));
  await opened;
  const all: Off[] = [];
  for (const [place, frame] of SHOWN.entries()) {
    const there = happens("seeked");
    video.currentTime = (frame + 0.5) / FPS;
    await there;
    // On a busy machine the element still shows another frame when the seek has ended.
    const look = async () => (all[place] = await differenceAt(name, place, await toRgb(video, { name: "image 1" }))).max;
    await expect.poll(look).toBeLessThan(10);
  }
  URL.revokeObjectURL(video.src);
  return together(all);
}

/** Holds what was found of a codec's clips against docs/library.md: levels off at most, and on average, in one of the columns. */
async function told(codec: string, column: 4 | 5, found: readonly Off[]): Promise<void> {
  const page = new TextDecoder().decode(await readRepository("docs/library.md"));
  const cell = new RegExp(`^\\| ${codec} \\|(.*)\\|$`, "m").exec(page)![1]!.split("|")[column]!.trim();
  const [max, mean] = [Math.max(...found.map(({ max }) => max)), Math.max(...found.map(({ mean }) => mean))];
  if (inject("full")) return expect(cell).toBe(`${max} (${mean.toFixed(1)})`);
  const [most, mostMean] = cell.split(" (").map(Number.parseFloat);
  expect(max).toBeLessThanOrEqual(most!);
  expect(mean).toBeLessThan(mostMean! + 0.05);
}

describe("videos in a page", () => {
  it.each(ROWS)("%s shows ffmpeg's frames, each at its number", async (codec, clips) => {
    const all: Off[] = [];
    for (const [name, count] of Object.entries(clips)) {
      const opened = await platform.openVideo({ video: await file(name), check: () => {}, tolerant: false, signal: undefined });
      expect(opened.frames).toBe(count);
      const found: Pixels[] = [];
      for await (const pixels of opened.read(SHOWN)) found.push(pixels);
      await opened.close();
      all.push(await difference(name, found));
    }
    await told(codec, 4, all);
  });

  it.each(ROWS)("%s in a video element that is given as a picture", async (codec, clips) => {
    const names = Object.keys(clips).filter((name) => name !== "vfr.webm");
    await told(codec, 5, await Promise.all(names.map(differenceOfShown)));
  });

  it("chooses frames as Node does, and gives them as tiles", async () => {
    const found = await frames("vp9.webm", { frames: 4, bound: [0.5, 1.3] });
    const wanted = sampleFrameIndices(20, 4, { fps: 10, bound: [0.5, 1.3] });
    const opened = await platform.openVideo({
      video: new Blob([(await file("vp9.webm")) as Uint8Array<ArrayBuffer>]),
      check: () => {},
      tolerant: false,
      signal: undefined,
    });
    expect(opened.fps).toBeCloseTo(10, 3);
    const numbers: number[] = [];
    for await (const { width } of opened.read(wanted)) numbers.push(width);
    expect(numbers).toEqual([96, 96, 96, 96]);
    expect(found.map(({ width, height }) => [width, height])).toEqual(wanted.map(() => [56, 56]));
    expect(new Set(found.map(({ data }) => data.join())).size).toBe(4);
  });

  it("what is wrong with a file is reported", async () => {
    const refusal = (name: string, options: Partial<Clip> = {}, settings: PictureOptions = {}) =>
      frames(name, options, settings).then(
        (found) => `gave ${found.length} frames`,
        ({ code, message, hint }) => `${code}: ${message} (${hint})`,
      );
    const cut = async (name: string, bytes: number) => ({ src: (await file(name)).slice(0, bytes) });
    expect(await refusal("sound.m4a")).toMatch(/^bad-image: the file holds no video, only sound or less/);
    expect(await refusal("vp9.webm", {}, { maxPixels: 1000 })).toMatch(/^bad-image: the video is 96 x 64 = 6144 pixels, at most 1000/);
    expect(await refusal("vp9.webm", { bound: [5, 6] })).toMatch(/^bad-input: the bound 5:6 holds no frame of the video/);
    expect(await refusal("vp9.webm", await cut("vp9.webm", 4000))).toMatch(/^bad-image: the video /);
    expect(await refusal("vp8.webm", await cut("vp8.webm", 9000))).toMatch(/^bad-image: the video /);
    expect(await refusal("vp9.webm", await cut("vp9.webm", 30))).toMatch(/^bad-image: the video cannot be read/);
    expect(await refusal("h264.mp4", await cut("h264.mp4", 8000))).toMatch(/^bad-image: the video is damaged: a frame is missing/);
    expect(await refusal("vp9.webm", { src: new Uint8Array(0) })).toMatch(/^bad-image: the video cannot be read/);
    expect(await refusal("vp9.webm", { src: "clip.webm" })).toMatch(/^bad-input: a page cannot read the local path "clip.webm"/);
    const hit = (await file("vp9.webm")).slice();
    for (let i = 1500; i < 6000; i += 7) hit[i]! ^= 0x5a;
    expect(await refusal("vp9.webm", { src: hit })).toMatch(/^bad-image: /);
  });
});
