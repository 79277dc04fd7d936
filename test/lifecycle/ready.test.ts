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
  const ran: number[] = []; // dispatches so far, at each step of the progress
  const vlm = await InternVL.load(folder, {
    device, // the caller's own: its kind is known all the same
    onProgress(progress) {
      if (progress.phase !== "compile") return;
      compile.push(progress);
      ran.push(before.length);
    },
  });
  const { gpu } = partsOf(vlm);
  expect([gpu.kind, kind]).toEqual(["cpu", "cpu"]); // this machine's adapters; a GPU compiles when a pipeline is made

  const { total } = compile.at(-1)!;
  expect(total).toBeGreaterThan(15);
  expect(compile.map(({ loaded }) => loaded)).toEqual([0, ...Array.from({ length: total }, (_, i) => i + 1)]);
  expect(new Set(compile.slice(1).map((each) => each.total))).toEqual(new Set([total]));
  const first = ran[1]!;
  expect(ran.slice(1)).toEqual(Array.from({ length: total }, (_, i) => first + i)); // one workgroup a pipeline, no more
  const warm = before.slice(first);
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
