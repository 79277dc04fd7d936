import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clipFrames } from "../../src/api/clip.ts";
import { type BatchAnswer, type BatchResult, type ChatResult, type EngineError, InternVL } from "../../src/index.ts";
import { pathOf } from "../support.ts";

const src = pathOf("test/fixtures/video/vp9.webm");
const q = "What shape is it?";
const ids = ({ promptTokenIds, tokenIds }: ChatResult) => [promptTokenIds, tokenIds];
const ffmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;
if (!ffmpeg) console.warn("SKIPPED: a question about a video file needs ffmpeg on the path (apt install ffmpeg); it was not tested");

describe.skipIf(!ffmpeg)("a question about a video file", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(pathOf("weights/nano"), { maxContext: 512 });
  });
  afterAll(() => vlm.dispose());

  it("is the question about its frames, also when the conversation comes back from JSON", async () => {
    const first = await vlm.chat(q, { video: { src, frames: 3, bound: [0.2, 1.5] }, maxTokens: 6 });
    const clip = { src: new Uint8Array(readFileSync(src)), frames: 3, bound: [0.2, 1.5] as const };
    const frames = await clipFrames(clip, {}, 112, new AbortController().signal);
    expect(ids(await vlm.chat(q, { video: frames, maxTokens: 6 }))).toEqual(ids(first));
    const [second, again] = [first.history, JSON.parse(JSON.stringify(first.history))].map((history) =>
      vlm.chat("And then?", { history, maxTokens: 6 }),
    );
    expect(ids(await second!)).toEqual(ids(await again!));
    expect(JSON.stringify(first.history).length).toBeLessThan(3 * 112 * 112 * 4 + 2000); // tiles, not frames
  });

  it("in a session and a batch, where one that cannot be read fails alone", async () => {
    const wanted = await vlm.chat(q, { video: { src, frames: 2 }, maxTokens: 4 });
    const session = vlm.session();
    expect(ids(await session.send(q, { video: { src, frames: 2 }, maxTokens: 4 }))).toEqual(ids(wanted));
    expect((await session.send("And then?", { maxTokens: 2 })).promptTokenIds.length).toBeGreaterThan(wanted.promptTokenIds.length);
    const seen: BatchResult[] = [];
    const onResult = (result: BatchResult, index: number) => {
      seen[index] = result;
    };
    const items = [
      { prompt: q, video: { src, frames: 2 } },
      { prompt: q, video: { src: "none.mp4" } },
    ];
    const results = await vlm.batch(items, { maxTokens: 4, onResult });
    expect(ids(seen[0] as BatchAnswer)).toEqual(ids(wanted));
    expect((results[0] as BatchAnswer).history[0]!.content).toMatchObject([{ image: src }, { image: src }, {}]); // no pixels are kept
    expect((results[1] as { error: EngineError }).error).toMatchObject({ code: "bad-input", message: expect.stringContaining("none.mp4") });
  });
});
