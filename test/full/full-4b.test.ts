import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { generateTrace, traceForward } from "../../src/testing.ts";
import { json, relativeL2, syntheticF32 } from "../support.ts";
import { synthesized } from "./checkpoint.ts";

interface Samples {
  l2: number;
  stride: number;
  sample: number[];
}

interface Golden {
  pixel_values: { name: string; shape: number[] };
  input_ids: number[];
  greedy: number[];
  steps: { id: number; l2: number; margin: number; strided: number[] }[];
  last_logits: { top32: [id: number, logit: number][]; strided: Samples };
  vit: Samples;
  mlp1: Samples;
}

const golden = json<Golden>("full-4b.json");

/** f32 compute allows 5e-4 (issue 4); what was seen is about 1e-6. */
const BOUND = 5e-4;

const strided = (values: ArrayLike<number>, stride: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => values[i * stride]!);

const errorOf = (values: ArrayLike<number>, { stride, sample }: Samples): number =>
  relativeL2(strided(values, stride, sample.length), sample);

/** The largest resident size of this process while `work` runs. */
async function peakRss<T>(work: () => Promise<T>): Promise<{ result: T; peak: number }> {
  let peak = process.memoryUsage.rss();
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
  try {
    return { result: await work(), peak };
  } finally {
    clearInterval(timer);
    peak = Math.max(peak, process.memoryUsage.rss());
  }
}

describe("the whole 4B model", () => {
  let folder = process.env.INTERNVL_FULL_DIR;
  let made: ReturnType<typeof synthesized> | undefined;
  beforeAll(() => {
    folder ??= (made = synthesized("internvl2_5-4b.config.json")).folder;
  });
  afterAll(() => made?.remove());

  it.each(["bf16", "q8", "q4"] as const)("in %s", async (weights) => {
    const began = performance.now();
    const { result: vlm, peak } = await peakRss(() => InternVL.load(folder!, { weights, maxContext: 512, kv: "f32" }));
    const loaded = performance.now();
    const gpuBytes = vlm.memory().bytes;
    const errors: Record<string, number> = {};
    try {
      const pixelValues = syntheticF32(golden.pixel_values.name, golden.pixel_values.shape);
      const trace = await traceForward(vlm, { pixelValues, inputIds: [] });
      errors.vit = errorOf(trace.get("vit.layer.23")!, golden.vit);
      errors.mlp1 = errorOf(trace.get("mlp1")!, golden.mlp1);
      const seen = performance.now();
      const { ids, logits } = await generateTrace(vlm, { pixelValues, inputIds: golden.input_ids, steps: golden.steps.length });
      errors.last = errorOf(logits[0]!, golden.last_logits.strided);
      errors.top32 = relativeL2(
        golden.last_logits.top32.map(([id]) => logits[0]![id]!),
        golden.last_logits.top32.map(([, logit]) => logit),
      );
      for (const [k, { strided: want }] of golden.steps.entries()) {
        errors[`step${k}`] = relativeL2(strided(logits[k]!, 592, want.length), want);
      }
      const agreed = ids.filter((id, k) => id === golden.greedy[k]).length;
      console.log(
        JSON.stringify({
          adapter: vlm.adapter,
          weights: vlm.weights,
          errors: Object.fromEntries(Object.entries(errors).map(([name, e]) => [name, Number(e.toPrecision(3))])),
          logitsNmse: Number((errors.last! ** 2).toPrecision(3)),
          ids,
          agreed,
          seconds: { load: (loaded - began) / 1e3, vision: (seen - loaded) / 1e3, language: (performance.now() - seen) / 1e3 },
          memory: { gpuBytes, peakRssWhileLoading: peak, aboveTheGpu: peak - gpuBytes },
        }),
      );
      if (weights === "bf16") {
        for (const [name, error] of Object.entries(errors)) expect(error, name).toBeLessThan(BOUND);
        expect(ids).toEqual(golden.greedy);
      } else {
        // No golden for these: what they lose is printed, and held to the format's own noise.
        expect(errors.last!).toBeLessThan(weights === "q8" ? 0.03 : 0.4);
        if (weights === "q8") expect(ids[0]).toBe(golden.greedy[0]); // its margin is 0.32
      }
    } finally {
      await vlm.dispose();
    }
  });
});
