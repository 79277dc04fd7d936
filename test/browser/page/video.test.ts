import { describe, expect, it } from "vitest";
import type { Clip } from "../../../src/api/asking.ts";
import { clipFrames } from "../../../src/api/clip.ts";
import type { PictureOptions } from "../../../src/api/image-options.ts";
import { decodePng } from "../../../src/media/png.ts";
import { sampleFrameIndices } from "../../../src/media/video.ts";
import { platform } from "../../../src/platform/web.ts";
import { readRepository } from "./support.ts";

const file = (name: string) => readRepository(`test/fixtures/video/${name}`);
const frames = async (name: string, options: Partial<Clip> = {}, settings: PictureOptions = {}) =>
  clipFrames({ src: await file(name), frames: 3, bound: undefined, ...options }, settings, 56, new AbortController().signal);

const CLIPS: [string, number][] = [
  ["vp8.webm", 20],
  ["vp9.webm", 20],
  ["av1.mp4", 20],
  ["vfr.webm", 16],
  ["turned-vp9.mp4", 20],
  ["h264.mp4", 20],
  ["turned.mp4", 20],
];

describe("videos in a page", () => {
  it.each(CLIPS)("%s shows ffmpeg's frames, each at its number", async (name, count) => {
    const wanted = await decodePng(await file(`${name}.png`));
    const opened = await platform.openVideo({ video: await file(name), check: () => {}, tolerant: false, signal: undefined });
    expect(opened.frames).toBe(count);
    let at = 0;
    for await (const { data, width, height } of opened.read([0, 7, 15])) {
      expect([width, height]).toEqual([wanted.width, wanted.height / 3]);
      let [max, sum] = [0, 0];
      for (let i = 0; i < width * height; i++)
        for (let c = 0; c < 3; c++) {
          const d = Math.abs(data[(i * data.length) / (width * height) + c]! - wanted.data[at++]!);
          max = Math.max(max, d);
          sum += d;
        }
      // Rounding, of our own conversion and FFmpeg's tables.
      expect(max).toBeLessThanOrEqual(3);
      expect(sum / (width * height * 3)).toBeLessThan(1);
    }
    await opened.close();
    expect(at).toBe(wanted.data.length);
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

  it("what is wrong with a file is told", async () => {
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
