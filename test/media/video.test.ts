import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Clip } from "../../src/api/asking.ts";
import { clipFrames, openClip } from "../../src/api/clip.ts";
import type { PictureOptions } from "../../src/api/image-options.ts";
import { EngineError } from "../../src/errors.ts";
import { resize } from "../../src/media/resize.ts";
import { sampleFrameIndices } from "../../src/media/video.ts";
import { pathOf } from "../support.ts";
import { readBytes } from "./helpers.ts";

const FOLDER = "test/fixtures/video/"; // made by its make.sh
const SIZE = 56;
const ffmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;
if (!ffmpeg) console.warn("SKIPPED: the tests of videos in Node need ffmpeg on the path (apt install ffmpeg); nothing of them was tested");

const clip = (name: string, options: Partial<Clip> = {}): Clip => ({ src: pathOf(FOLDER + name), frames: 8, bound: undefined, ...options });
const frames = (of: Clip, settings: PictureOptions = {}, signal = new AbortController().signal) => clipFrames(of, settings, SIZE, signal);

/** All frames of a file as ffmpeg itself shows them. */
function shown(name: string, width: number, height: number): Uint8Array[] {
  const args = ["-v", "error", "-i", pathOf(FOLDER + name), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
  const { stdout } = spawnSync("ffmpeg", args, { maxBuffer: 2 ** 28 });
  return Array.from(
    { length: stdout.length / (width * height * 3) },
    (_, i) => new Uint8Array(stdout.subarray(i * width * height * 3, (i + 1) * width * height * 3)),
  );
}

async function refusal(of: Clip, settings: PictureOptions = {}): Promise<string> {
  const error = await frames(of, settings).then(
    (found) => new Error(`gave ${found.length} frames`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof EngineError)) throw error;
  expect(error.hint).toBeTruthy();
  expect(error.message.length).toBeLessThan(350);
  return `${error.code}: ${error.message}`;
}

describe.skipIf(!ffmpeg)("videos in Node", () => {
  const folder = mkdtempSync(join(tmpdir(), "internvl-clips-"));
  let before: string[];
  beforeAll(() => {
    before = readdirSync(tmpdir()).filter((name) => name.startsWith("internvl-video-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith("internvl-video-"))).toEqual(before); // copies are removed
  });
  const written = (name: string, bytes: Uint8Array | string): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };

  const clips: [string, number, number, number, number][] = [
    ["h264.mp4", 96, 64, 20, 10],
    ["tail.mov", 96, 64, 20, 10],
    ["vp8.webm", 96, 64, 20, 10],
    ["vp9.webm", 96, 64, 20, 10],
    ["av1.mp4", 96, 64, 20, 10],
    ["vfr.webm", 96, 64, 16, 0],
    ["turned.mp4", 64, 96, 20, 10],
    ["turned-vp9.mp4", 64, 96, 20, 10],
    ["one.mp4", 96, 64, 1, 10],
  ];
  const some = inject("full") ? clips : clips.filter(([name]) => /^(h264|vfr|turned)\./.test(name));
  it.each(some)("%s shows ffmpeg's frames, each at its number", async (name, width, height, count, fps) => {
    const all = shown(name, width, height);
    expect(all.length).toBe(count);
    for (const segments of inject("full") ? [1, 3, 8, 25] : [5]) {
      const wanted = sampleFrameIndices(count, segments);
      const found = await frames(clip(name, { frames: segments }));
      expect(found.map(({ data }) => data)).toEqual(wanted.map((index) => resize({ width, height, data: all[index]! }, SIZE, SIZE).data));
    }
    const { fps: own, frames: number, close } = await openClip(clip(name), {});
    await close();
    expect(number).toBe(count);
    if (fps) expect(own).toBeCloseTo(fps, 6);
  });

  it("a bound chooses by the time", async () => {
    const all = shown("h264.mp4", 96, 64);
    const found = await frames(clip("h264.mp4", { frames: 3, bound: [0.5, 1.3] }));
    const wanted = sampleFrameIndices(20, 3, { fps: 10, bound: [0.5, 1.3] });
    expect(wanted).toEqual([6, 9, 11]);
    expect(found.map(({ data }) => data)).toEqual(
      wanted.map((index) => resize({ width: 96, height: 64, data: all[index]! }, SIZE, SIZE).data),
    );
    expect(await refusal(clip("h264.mp4", { bound: [2, 9] }))).toBe(
      "bad-input: the bound 2:9 holds no frame of the video, which has 2.00 seconds",
    );
  });

  it("comes as a path, bytes, a Blob, a data URL or a file URL", async () => {
    const bytes = readBytes(`${FOLDER}vp9.webm`);
    const wanted = await frames(clip("vp9.webm"));
    const base64 = Buffer.from(bytes).toString("base64");
    const sources = [
      bytes,
      `file://${pathOf(`${FOLDER}vp9.webm`)}`,
      bytes.slice().buffer,
      new Blob([bytes as Uint8Array<ArrayBuffer>]),
      `data:video/webm;base64,${base64}`,
    ];
    for (const src of sources.slice(0, inject("full") ? 5 : 1)) expect(await frames(clip("", { src }))).toEqual(wanted);
    const odd = written("-o a:b'%.webm", bytes);
    expect(await frames(clip("", { src: odd }))).toEqual(wanted);
  });

  it("what is wrong with a file is reported", async () => {
    const bytes = readBytes(`${FOLDER}h264.mp4`);
    const src = (name: string, content: Uint8Array | string) => clip("", { src: written(name, content) });
    expect(await refusal(clip("sound.m4a"))).toBe("bad-image: the file holds no video, only sound or less");
    expect(await refusal(clip("none.mp4"))).toMatch(/bad-input: cannot read the video .*ENOENT/);
    expect(await refusal(clip(""))).toMatch(/it is a folder/);
    expect(await refusal(src("a.mp4", ""))).toMatch(/not an MP4, MOV, WebM, Matroska or AVI file/);
    expect(await refusal(src("b.mp4", "#EXTM3U\nfile:///etc/passwd\n"))).toMatch(/not an MP4, MOV, WebM/);
    expect(await refusal(clip("h264.mp4"), { maxPixels: 1000 })).toBe(
      "bad-image: the video is 96 x 64 = 6144 pixels, at most 1000 are allowed",
    );
    expect(await refusal(src("c.mp4", bytes.slice(0, 8000)))).toMatch(/bad-image: the video is cut off or damaged/);
    expect(await refusal(src("d.mov", readBytes(`${FOLDER}tail.mov`).slice(0, 8000)))).toMatch(
      /bad-image: the video cannot be read: moov atom not found/,
    );
    expect(await refusal(src("e.webm", readBytes(`${FOLDER}vp9.webm`).slice(0, 4000)))).toMatch(
      /bad-image: the video is cut off or damaged/,
    );
    expect(await refusal(src("f.mp4", bytes.slice(0, 40)))).toMatch(/bad-image: the (video cannot be read|file holds no video)/);
    const hit = bytes.slice();
    for (let i = 4000; i < 12000; i += 7) hit[i]! ^= 0x5a;
    expect(await refusal(src("g.mp4", hit))).toMatch(/bad-image: the video is (cut off or )?damaged/);
  });

  it("a clip that is cut off is taken as far as it goes, where that is said", async () => {
    const src = written("cut.webm", readBytes(`${FOLDER}vp9.webm`).slice(0, 4000));
    const found = await frames(clip("", { src, frames: 2 }), { allowTruncated: true });
    expect(found.length).toBe(2);
  });

  it("an abort ends it", async () => {
    await expect(frames(clip("h264.mp4"), {}, AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" });
  });

  it("without ffmpeg, the error says what to install", async () => {
    const { PATH } = process.env;
    process.env.PATH = folder;
    try {
      expect(await refusal(clip("h264.mp4"))).toBe("bad-image: videos are read with the program ffprobe, which is not on the path");
    } finally {
      process.env.PATH = PATH;
    }
  });
});
