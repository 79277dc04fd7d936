import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EngineError, InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { ropeFrequencies } from "../../src/model/rope.ts";
import { inverseFrequencies } from "../../src/ops/rope.ts";
import { generateTrace } from "../../src/testing.ts";
import { isQuick } from "../shared/quick.ts";
import { fixture, json, memoryFiles, pathOf, readF32, relativeL2, tinyCheckpoint } from "../support.ts";

interface Run {
  attention_factor: number;
  generate_ids: number[];
}
const golden = json<{ prompts: Record<"short" | "long", number[]>; variants: Record<string, { prompts: Record<"short" | "long", Run> }> }>(
  "tiny-rope/expected.json",
);
const expected = readF32(fixture("tiny-rope/expected.safetensors"));
const files = tinyCheckpoint("tiny-qwen", 0);
const configOf = (name: string) => fixture(`tiny-rope/config-${name}.json`);

const REFUSED = ["missing", "missing-scaling-only"];
const names = readdirSync(pathOf("test/fixtures/tiny-rope")).flatMap((file) => /^config-(.*)\.json$/.exec(file)?.[1] ?? []);
const loading = names.filter((name) => !REFUSED.includes(name));

describe("rope as transformers computes it (golden/tiny-rope)", () => {
  it("has a golden for every variant", () => {
    expect(loading).toHaveLength(15);
    expect(names.toSorted()).toEqual(Object.keys(golden.variants).toSorted());
  });

  it.each(loading)("%s: the inverse frequencies", (name) => {
    const { language } = parseConfig(configOf(name));
    const { inverse, scale } = ropeFrequencies(inverseFrequencies(language.headDim, language.rope.theta), language.rope);
    expect(relativeL2(inverse, expected.get(`${name}.short.inv_freq`)!.data)).toBeLessThan(2e-7);
    expect(scale).toBeCloseTo(golden.variants[name]!.prompts.short.attention_factor, 12);
  });

  it.each(REFUSED)("%s: refused, where transformers would take a base of 10000", async (name) => {
    const load = InternVL.load(memoryFiles({ ...files, "config.json": configOf(name) }), { maxContext: 256 });
    await expect(load).rejects.toMatchObject({ code: "bad-weights", message: expect.stringContaining("rope_theta is missing") });
  });

  it.each(["dynamic-beyond", "dynamic-beyond-new"])("%s: no longer context than dynamic scaling leaves alone", async (name) => {
    const load = InternVL.load(memoryFiles({ ...files, "config.json": configOf(name) }), { maxContext: 65 });
    await expect(load).rejects.toMatchObject({ code: "bad-input", message: expect.stringContaining("64 positions") });
  });

  it.each(loading)("%s: logits and ids", async (name) => {
    const { maxPositions } = parseConfig(configOf(name)).language;
    const vlm = await InternVL.load(memoryFiles({ ...files, "config.json": configOf(name) }), { maxContext: Math.min(256, maxPositions) });
    try {
      // The long one reaches what the short one does, where there is room for it.
      const some = isQuick && golden.prompts.long.length < maxPositions ? (["long"] as const) : (["short", "long"] as const);
      for (const prompt of some) {
        const inputIds = golden.prompts[prompt];
        if (inputIds.length >= maxPositions) {
          await expect(generateTrace(vlm, { inputIds, steps: 1 })).rejects.toBeInstanceOf(EngineError);
          continue;
        }
        const want = golden.variants[name]!.prompts[prompt].generate_ids.slice(0, maxPositions - inputIds.length);
        const { ids, logits } = await generateTrace(vlm, { inputIds, steps: want.length });
        expect(relativeL2(logits[0]!, expected.get(`${name}.${prompt}.logits`)!.data)).toBeLessThan(2e-3); // KV cache in f16
        expect(ids).toEqual(want);
      }
    } finally {
      await vlm.dispose();
    }
  });
});
