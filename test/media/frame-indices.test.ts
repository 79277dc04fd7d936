import { expect, it } from "vitest";
import { sampleFrameIndices } from "../../src/media/video.ts";
import { readJson } from "./helpers.ts";

type Case = [frames: number, fps: number, segments: number, bound: [number, number] | null, indices: number[]];
const cases = readJson<Case[]>("test/fixtures/video/frame-indices.json"); // numpy's, see make-indices.py

it("frames are those of the model card's get_index", () => {
  expect(cases.length).toBeGreaterThan(250);
  for (const [frames, fps, segments, bound, indices] of cases)
    expect(
      sampleFrameIndices(frames, segments, { fps, bound: bound ?? undefined }),
      JSON.stringify([frames, fps, segments, bound]),
    ).toEqual(indices);
});

it("without a time, those of a clip of any speed", () => {
  for (const [frames, , segments, bound, indices] of cases.filter(([frames]) => frames < 200_000))
    if (!bound) expect(sampleFrameIndices(frames, segments)).toEqual(indices);
});

it("a bound behind the end is refused", () => {
  expect(() => sampleFrameIndices(30, 8, { fps: 10, bound: [3, 5] })).toThrow(
    "the bound 3:5 holds no frame of the video, which has 3.00 seconds",
  );
});
