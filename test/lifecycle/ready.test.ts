import { expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { InternVL, type Progress } from "../../src/index.ts";
import { watchDispatches } from "../passes.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");

it("ready is ready: what an adapter compiles at the first dispatch is compiled while loading, and its progress tells of each", async () => {
  const { device, kind, close } = await openGpu();
  const before = watchDispatches(device);
  const compile: Progress[] = [];
  const vlm = await InternVL.load(folder, {
    device, // the caller's own: its kind is known all the same
    onProgress(progress) {
      if (progress.phase !== "compile") return;
      compile.push(progress);
    },
  });
  const { gpu } = partsOf(vlm);
  expect([gpu.kind, kind]).toEqual(["cpu", "cpu"]); // this machine's adapters; a GPU compiles when a pipeline is made

  const loaded = before.length;
  const { total } = compile.at(-1)!;
  expect(total).toBeGreaterThan(15);
  const steps = compile.map(({ loaded }) => loaded); // not each of them: reports come as often as a person can read
  expect([steps[0], steps.at(-1)]).toEqual([0, total]);
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
  const warm = before.slice(loaded - (total - 1), loaded); // one workgroup a pipeline, no more: the first step is the vision tower's making
  expect(warm.map(({ workgroups }) => workgroups)).toEqual(warm.map(() => 1));
  expect(new Set(warm.map(({ pipeline }) => pipeline)).size).toBe(total - 1);

  // Greedy answers need no other: with a picture and without, in a context of several splits too.
  const known = new Set(warm.map(({ pipeline }) => pipeline));
  const start = before.length;
  const card = `${folder}/images/card-1.png`;
  expect((await vlm.chat("<image>\nWhat shape is it?", { images: [card] })).text).toBe("A triangle.");
  await vlm.chat(`${"What shape is it? ".repeat(150)}`, { maxTokens: 3 });
  const answered = before.slice(start);
  expect(answered.length).toBeGreaterThan(100);
  expect(answered.filter(({ pipeline }) => !known.has(pipeline))).toEqual([]);
  await vlm.dispose();
  close();
});
