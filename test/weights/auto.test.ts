import { afterEach, describe, expect, it, vi } from "vitest";
import { platform } from "#platform";
import { loadModel } from "../../src/api/model-load.ts";
import { EngineError } from "../../src/errors.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { candidates, misfit, weightBytes } from "../../src/weights/fit.ts";
import { syntheticTensors } from "../../tools/synthetic/source.ts";
import { fixture } from "../support.ts";

describe('weights: "auto"', () => {
  let gpu: Gpu;
  afterEach(() => {
    gpu.close();
    vi.restoreAllMocks();
  });

  /**
   * An adapter whose memory nobody tells, as no GPU's is told, and which has no room for some of what is asked: that fails as Dawn
   * has it fail, in the scope around.
   */
  async function limited(refuses: (what: string) => boolean): Promise<Gpu> {
    vi.spyOn(platform, "availableMemory").mockReturnValue(undefined);
    gpu = await openGpu();
    const { memory } = gpu;
    const scoped = memory.scoped.bind(memory);
    memory.scoped = async (what, work) => {
      const result = await scoped(what, work);
      if (refuses(what)) throw new EngineError("out-of-memory", `${what}: the GPU has no room`);
      return result;
    };
    return gpu;
  }

  /** True at the first `what` that matches, only then. */
  const once = (pattern: RegExp) => {
    let refused = false;
    return (what: string) => !refused && (refused = pattern.test(what));
  };

  const tiny = parseConfig(fixture("tiny/tiny-qwen/config.json"));
  const origin = () => syntheticTensors(gpu, checkpointTensors(tiny), 0);

  async function load(): Promise<{ weights: string; notes: string[] }> {
    const notes: string[] = [];
    const options = { format: "auto" as const, maxContext: 64, kv: "f16" as const, onNote: (note: string) => notes.push(note) };
    const { weights } = await loadModel(gpu, origin, tiny, options);
    return { weights, notes };
  }

  it("takes the weights as they are stored where they fit", async () => {
    await limited(() => false);
    expect(await load()).toEqual({ weights: "bf16", notes: [] });
  });

  it("goes on to q8 when the GPU has no room for the weights' size, and says so", async () => {
    await limited(once(/^trying/));
    expect(await load()).toEqual({ weights: "q8", notes: ["weights as q8: bf16 needs 0.3 GiB, which the GPU does not give"] });
  });

  it("gives back what a load took that ran out of memory, and goes on", async () => {
    await limited(once(/^the weights$/));
    expect(await load()).toEqual({ weights: "q8", notes: ["weights as q8: bf16 the GPU ran out of memory while loading"] });
    const labels = gpu.memory.entries().map(({ label }) => label);
    for (const label of ["residual", "language_model.model.norm.weight"]) expect(labels.filter((each) => each === label)).toHaveLength(1);
  });

  it("measures a software adapter by the machine's free memory", async () => {
    gpu = { ...(await openGpu()), kind: "cpu" };
    expect(await misfit(gpu, 8 * 2 ** 30, 4 * 2 ** 30)).toBe("needs 8.0 GiB, the machine has 4.0 GiB free");
    expect(await misfit(gpu, 2 * 2 ** 30, 4 * 2 ** 30)).toBeUndefined();
  });

  it("knows the 4B model's sizes", async () => {
    gpu = await openGpu();
    const big = syntheticTensors(gpu, checkpointTensors(parseConfig(fixture("internvl2_5-4b.config.json"))), 0);
    expect(candidates("bf16", false)).toEqual(["bf16", "q8", "q4"]);
    const [bf16, q8, q4] = (["bf16", "q8", "q4"] as const).map((format) => weightBytes(big, format) / 1e9);
    expect(bf16).toBeCloseTo(7.43, 2);
    expect(q8! / bf16!).toBeCloseTo(8.5 / 16, 2);
    expect(q4! / bf16!).toBeCloseTo(4.5 / 16, 2);
  });
});
