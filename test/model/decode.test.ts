import { describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { InternVL } from "../../src/index.ts";
import { kvBytes } from "../../src/ops/kv-cache.ts";
import { chosenVariant } from "../../src/ops/matmul.ts";
import { generateTrace } from "../../src/testing.ts";
import { watchDispatches } from "../passes.ts";
import { memoryFiles, relativeL2, tinyCheckpoint } from "../support.ts";

const CONTEXT = 384; // more than one split of decode attention, on every adapter
const IDS = Array.from({ length: 300 }, (_, i) => (i * 37) % 900);
/** What a step has beside its layers: embedding, final norm and head, and greedy sampling, in one where the head knows the largest logits. */
const OTHERS = [3, 4, 5]; // 5: the norm by itself

describe("decode", () => {
  it("takes at most 7 dispatches a layer, for one row and for several (9 where their kernel takes no norm), within a split of the context and beyond; f16 halves the cache", async () => {
    const load = (kv: "auto" | "f32") => InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", 0)), { maxContext: CONTEXT, kv });
    const vlm = await load("auto");
    const exact = await load("f32");
    const { gpu, model } = partsOf(vlm);
    const { language } = model.config;

    const bytes = (kv: "f16" | "f32") => kvBytes(language, CONTEXT, kv);
    expect(bytes("f32")).toBe(2 * language.layers * language.kvHeads * language.headDim * CONTEXT * 4);
    expect(bytes("f16")).toBe(bytes("f32") / 2);
    expect(exact.memory().bytes - vlm.memory().bytes).toBe(bytes("f32") - bytes("f16"));

    const dispatches = (positions: (number | undefined)[], decoder = model.decoder) => {
      const before = { ...gpu.counters };
      decoder.decode(positions);
      expect(gpu.counters.bindGroups + gpu.counters.buffers).toBe(before.bindGroups + before.buffers);
      const layers = OTHERS.map((others) => (gpu.counters.dispatches - before.dispatches - others) / language.layers);
      return layers.find(Number.isInteger);
    };
    expect(dispatches([10])).toBe(6);
    expect([6, 7]).toContain(dispatches([300])); // 6 where the product behind attention puts its splits together
    const three = await model.openDecoder(3, CONTEXT);
    // SwiftShader's fastest kernel for several rows takes no norm in front: a layer's two are dispatches of their own.
    const { variant } = chosenVariant(gpu, { shape: [language.hiddenSize, language.hiddenSize], dtype: "bf16" }, 2);
    const norms = variant === "cpu_gemm_tile16" ? 2 : 0;
    expect(dispatches([10, undefined, 12], three)).toBe(6 + norms);
    expect(dispatches([300, 5, undefined], three)).toBe(7 + norms);
    three.dispose();

    // A cache in f16 moves the logits by its rounding, and by no more (golden/README.md measured 3e-4 to 7e-4).
    const [rounded, whole] = await Promise.all([vlm, exact].map((each) => generateTrace(each, { inputIds: IDS, steps: 3 })));
    const errors = rounded!.logits.map((logits, i) => relativeL2(logits, whole!.logits[i]!));
    console.log(`f16 against f32 keys and values on ${vlm.adapter}: ${errors.map((error) => error.toExponential(1)).join(" ")}`);
    expect(Math.max(...errors)).toBeLessThan(5e-3);
    expect(Math.min(...errors)).toBeGreaterThan(1e-6);
    await vlm.dispose();
    await exact.dispose();
  });

  it("does the work of the rows that are busy, wherever their slots are", async () => {
    const vlm = await InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", 0)), { maxContext: CONTEXT });
    const { gpu, model } = partsOf(vlm);
    const slots = await model.openDecoder(8, CONTEXT);
    for (const row of [2, 5]) await slots.prefill(row, Uint32Array.from(IDS.slice(0, 20 + row)), 0);
    for (const row of [2, 5]) slots.first(row, 20 + row);
    await gpu.memory.flush();
    const seen = watchDispatches(gpu.device);
    const work = (decode: () => void) => {
      const start = seen.length;
      decode();
      return seen.slice(start).map(({ workgroups }) => workgroups);
    };
    const none = undefined;
    const first = work(() => model.decoder.decode([30]));
    expect(work(() => slots.decode([none, none, none, none, none, none, none, 30]))).toEqual(first);
    expect(work(() => slots.decode([30, 30]))).toEqual(work(() => slots.decode([none, none, 30, none, none, none, 30])));

    // What comes out for a slot does not depend on who else is busy.
    const next = async () => [...new Uint32Array(await gpu.memory.read(slots.state.next, 0, 32))];
    const [, , two, , , five] = await next();
    slots.decode([none, none, 22, none, none, 25]);
    const together = await next();
    gpu.memory.write(slots.state.next, 8, Uint32Array.of(two!));
    gpu.memory.write(slots.state.next, 20, Uint32Array.of(five!));
    slots.decode([none, none, none, none, none, 25]);
    slots.decode([none, none, 22]);
    expect(await next()).toEqual(together);
    slots.dispose();
    await vlm.dispose();
  });

  it("refuses a kv format that there is not", async () => {
    const load = InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", 0)), { kv: "q8" as never });
    await expect(load).rejects.toMatchObject({ code: "bad-input", message: 'kv is "q8", needs one of auto, f16, f32' });
  });
});
