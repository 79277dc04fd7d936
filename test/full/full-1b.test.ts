import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { relativeL2, syntheticF32 } from "../support.ts";
import { synthesized } from "./checkpoint.ts";

/** No golden was recorded at this size: what is held is that a step of decoding and a longer prefill are the same thing. */
describe("a 1B model (Qwen2.5-0.5B inside, untied head)", () => {
  let made: ReturnType<typeof synthesized>;
  beforeAll(() => {
    made = synthesized("internvl2_5-1b.config.json");
  });
  afterAll(() => made?.remove());

  it("loads and generates", async () => {
    const vlm = await InternVL.load(made.folder, { maxContext: 512, weights: "bf16", kv: "f32" });
    try {
      const pixelValues = syntheticF32("input.pixel_values.tile0", [1, 3, 448, 448]);
      const inputIds = [151644, 872, 198, 151665, ...new Array<number>(256).fill(151667), 151666, 74785, 151645];
      const { ids, logits } = await generateTrace(vlm, { pixelValues, inputIds, steps: 4 });
      for (const step of logits) expect(step.every(Number.isFinite)).toBe(true);
      const longer = await generateTrace(vlm, { pixelValues, inputIds: [...inputIds, ...ids.slice(0, 3)], steps: 1 });
      expect(longer.ids[0]).toBe(ids[3]);
      expect(relativeL2(longer.logits[0]!, logits[3]!)).toBeLessThan(1e-4);
    } finally {
      await vlm.dispose();
    }
  });
});
