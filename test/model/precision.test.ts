import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { loadModel } from "../../src/api/model-load.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { generateTrace, traceForward } from "../../src/testing.ts";
import { syntheticTensors } from "../../tools/synthetic/source.ts";
import { fragments, simulated, withMatrixUnits } from "../kernels/emulated.ts";
import { memoryFiles, readF32, readJson, relativeL2, syntheticF32, tinyFiles } from "../shared/checkpoints.ts";
import { conversationsOf } from "../shared/nano.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf, readRepository } from "../support.ts";

// What `precision` costs a model. Matrix units are a GPU's: here products round their operands as those do, in f32 tiles (emulated.ts). `fast` makes
// 8-bit products on GPUs that have none, or where they are measured to be faster.
const { units } = vi.hoisted(() => ({ units: { on: true } }));
vi.mock("../../src/gpu/device.ts", async (original) => {
  const actual = await original<typeof import("../../src/gpu/device.ts")>();
  const openGpu: typeof actual.openGpu = async (choice) =>
    withMatrixUnits(await actual.openGpu(choice), units.on ? [fragments("f16", 8, 16, 16)] : [], simulated);
  return { ...actual, openGpu };
});

interface Golden {
  weights_seed: number;
  cases: { name: string; pixel_values: { name: string; shape: number[] }; input_ids: number[]; new_ids: number[] }[];
}

/** The bounds of vision and language, relative L2, for f32 and for f16 operands (f16 keys and values in both). */
const BOUNDS: Readonly<Record<"exact" | "auto", readonly [number, number]>> = { exact: [1e-5, 2e-5], auto: [2e-3, 5e-3] };

describe.each(["exact", "auto"] as const)("a model whose products are %s", (precision) => {
  it("is as near to upstream as that allows, and answers the same", async (context) => {
    context.skip(isQuick && precision === "exact", `the goldens are exact: ${ELSEWHERE}`);
    const folder = "test/fixtures/tiny/tiny-qwen";
    const golden = await readJson<Golden>(readRepository, `${folder}/expected.json`);
    const expected = readF32(await readRepository(`${folder}/expected.safetensors`));
    const files = await tinyFiles("tiny-qwen", golden.weights_seed, readRepository);
    const { pixel_values, input_ids: inputIds, new_ids } = golden.cases.find(({ name }) => name === "single")!;
    const pixelValues = syntheticF32(pixel_values.name, pixel_values.shape);
    const vlm = await InternVL.load(memoryFiles(files), { maxContext: 512, precision, kv: "f32" });
    try {
      const trace = await traceForward(vlm, { pixelValues, inputIds });
      const errors = Object.fromEntries(
        [...expected].flatMap(([tap, { data }]) => {
          const got = trace.get(tap);
          return got ? [[tap, relativeL2(got.subarray(got.length - data.length), data)]] : [];
        }),
      );
      const [vision, language] = BOUNDS[precision];
      for (const [tap, error] of Object.entries(errors))
        expect(error, tap).toBeLessThan(/^(vit|pixel_shuffle|mlp1)/.test(tap) ? vision : language);
      console.log(`tiny-qwen, ${precision}: logits ${errors.logits!.toExponential(2)}, mlp1 ${errors.mlp1!.toExponential(2)}`);
      if (precision !== "exact") expect(errors.mlp1).toBeGreaterThan(2e-5); // it does round
      const { ids } = await generateTrace(vlm, { pixelValues, inputIds, steps: new_ids.length });
      expect(ids).toEqual(new_ids);
    } finally {
      await vlm.dispose();
    }
  });
});

afterEach(() => {
  units.on = true;
});

/** What is far from exact by no more than rounding to f16 allows, and to 8 bits: that is 0.6 % of each of the products' x, in every layer. */
const LOSS = { auto: 5e-3, fast: 5e-2 };
const WAYS = [
  ["auto", "auto"],
  ["fast", "q8"],
  ["fast", "q4"],
] as const;

describe("the embedded model", () => {
  it.for(WAYS)("with products that are %s, weights %s, has logits near to those of exact ones", async ([lossy, weights], context) => {
    context.skip(isQuick, `a larger model once more: ${ELSEWHERE}`);
    units.on = lossy !== "fast";
    const text = (await conversationsOf(readRepository)).find(({ images, video }) => images.length === 0 && !video)!;
    const [inputIds, tokenIds] = [text.inputIds[0]!, text.tokenIds[0]!];
    const logits: Float32Array[] = [];
    for (const precision of ["exact", lossy] as const) {
      const vlm = await InternVL.load(pathOf("weights/nano"), { maxContext: 512, precision, weights });
      try {
        const trace = await generateTrace(vlm, { inputIds, steps: tokenIds.length });
        if (weights === "auto") expect(trace.ids).toEqual(tokenIds);
        logits.push(trace.logits[0]!);
      } finally {
        await vlm.dispose();
      }
    }
    const error = relativeL2(logits[1]!, logits[0]!);
    console.log(`nano in ${weights}, ${lossy} against exact: logits ${error.toExponential(2)}`);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(LOSS[lossy]);
  });
});

describe("the 4B's decoder, synthetic", () => {
  it.for([
    ["auto", "auto", 36],
    ["auto", "q4", 36],
    ["fast", "q8", 4],
    ["fast", "q4", 4],
  ] as const)("%s, weights %s, %d layers", { timeout: 1_800_000 }, async ([lossy, format, layers], context) => {
    context.skip(!inject("full"), "up to 6 GB of weights, and minutes: npm run test:full");
    units.on = lossy !== "fast";
    const whole = parseConfig(await readRepository("test/fixtures/internvl2_5-4b.config.json"));
    const config = { ...whole, language: { ...whole.language, layers }, vision: { ...whole.vision, layers: 1 } };
    const ids = Uint32Array.from({ length: 128 }, (_, i) => (i * 7919) % config.language.vocabSize);
    const logits: Float32Array[] = [];
    for (const precision of ["exact", lossy] as const) {
      const gpu = await openGpu();
      try {
        const origin = syntheticTensors(gpu, checkpointTensors(config), 0);
        const { model } = await loadModel(gpu, () => origin, config, { format, maxContext: 256, kv: "f32", precision });
        await model.decoder.first(0, await model.decoder.prefill(0, ids, 0));
        logits.push(await model.decoder.readLogits());
      } finally {
        gpu.close();
      }
    }
    const error = relativeL2(logits[1]!, logits[0]!);
    console.log(`${layers} layers of the 4B in ${format}, ${lossy} against exact: logits ${error.toExponential(2)}`);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(LOSS[lossy]);
  });
});
