import { readFileSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { json, memoryFiles, pathOf, relativeL2, syntheticF32, tinyCheckpoint } from "../support.ts";

interface Golden {
  weights_seed: number;
  cases: { name: string; pixel_values: { name: string; shape: number[] }; input_ids: number[]; new_ids: number[]; margins: number[] }[];
}

/** Above this margin between the best two logits (their standard deviation is 0.8), q8's rounding decides nothing. */
const Q8_MARGIN = 0.05;

/** The logits of every greedy step of tiny-qwen's case `single`, and its ids. */
async function traced(weights: "bf16" | "f32" | "f16" | "q8") {
  const golden = json<Golden>("tiny/tiny-qwen/expected.json");
  const { pixel_values, input_ids, new_ids, margins } = golden.cases.find(({ name }) => name === "single")!;
  const vlm = await InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", golden.weights_seed)), { maxContext: 512, weights });
  try {
    expect(vlm.weights).toBe(weights);
    const pixelValues = syntheticF32(pixel_values.name, pixel_values.shape);
    return { ...(await generateTrace(vlm, { pixelValues, inputIds: input_ids, steps: new_ids.length })), want: new_ids, margins };
  } finally {
    await vlm.dispose();
  }
}

describe("weights held in another format", () => {
  // Three loads, each with pipelines of its own; checkpoints.test.ts holds f32 in the daily run.
  it.runIf(inject("full"))("f32 and f16 give bf16's logits: widening is exact, and these values lie in f16's range", async () => {
    const [bf16, f32, f16] = [await traced("bf16"), await traced("f32"), await traced("f16")];
    for (const other of [f32, f16]) {
      expect(other.ids).toEqual(bf16.ids);
      for (const [k, logits] of other.logits.entries()) expect(relativeL2(logits, bf16.logits[k]!)).toBeLessThan(1e-5);
    }
  });

  it("q8 gives bf16's greedy ids while the margin is above its noise", async () => {
    const { ids, want, margins } = await traced("q8");
    // Steps after a lost one have another context: compare up to the first that is not clear.
    const clear = margins.findIndex((margin) => margin < Q8_MARGIN);
    const count = clear < 0 ? want.length : clear;
    expect(count).toBeGreaterThan(0);
    console.log(`q8: ${ids.filter((id, k) => id === want[k]).length} of ${want.length} ids, held for the first ${count}`);
    expect(ids.slice(0, count)).toEqual(want.slice(0, count));
  });

  it("f16 refuses a value above its range, with the tensor's name and how many", async () => {
    const files = tinyCheckpoint("tiny-qwen", 0);
    const bytes = Uint8Array.from(files["model.safetensors"]!);
    const header = JSON.parse(
      new TextDecoder().decode(bytes.subarray(8, 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true)))),
    ) as Record<string, { data_offsets: [number, number] }>;
    const data = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    bytes.set([0x80, 0x47], data + header["mlp1.3.weight"]!.data_offsets[0] + 8); // 65536 in bf16
    await expect(InternVL.load(memoryFiles({ ...files, "model.safetensors": bytes }), { weights: "f16" })).rejects.toMatchObject({
      code: "bad-weights",
      message: 'tensor "mlp1.3.weight" has 1 values above what f16 can hold',
    });
  });

  it.each(["q8", "q4"] as const)("nano answers in %s", async (weights) => {
    const folder = pathOf("weights/nano");
    const { conversations } = JSON.parse(readFileSync(`${folder}/expected.json`, "utf8")) as {
      conversations: {
        id: string;
        images: (string | string[])[];
        video?: string[];
        maxTiles: number;
        turns: string[];
        answers: string[];
      }[];
    };
    const single = conversations.filter(
      ({ images, video, turns }) => !video && turns.length === 1 && images.length === 1 && typeof images[0] === "string",
    );
    const vlm = await InternVL.load(folder, { weights });
    try {
      expect(vlm.weights).toBe(weights);
      expect(vlm.memory().bytes).toBeGreaterThan(0);
      let right = 0;
      const asked = single.slice(0, 4);
      expect(asked).toHaveLength(4);
      for (const { images, maxTiles, turns, answers } of asked) {
        const { text } = await vlm.chat(turns[0]!, { images: images.map((path) => `${folder}/${path}`), maxTiles });
        if (text === answers[0]) right++;
      }
      expect(right).toBe(4);
    } finally {
      await vlm.dispose();
    }
  });
});
