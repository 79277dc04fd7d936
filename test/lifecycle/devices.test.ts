import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { create, globals } from "webgpu";
import { acceptWorkerLoad } from "../../src/api/accept-worker-load.ts";
import { partsOf } from "../../src/api/internvl.ts";
import { type EngineError, InternVL, type LoadOptions } from "../../src/index.ts";
import { splitLayers } from "../../src/model/split-layers.ts";
import { platform } from "../../src/platform/node.ts";
import { generateBatch, generateTrace } from "../../src/testing.ts";
import { expectNoUnhandled } from "../shared/failures.ts";
import { memoryFiles, pathOf, relativeL2, tinyCheckpoint } from "../support.ts";

expectNoUnhandled();

const CONTEXT = 384;
const load = (options: LoadOptions) => InternVL.load(memoryFiles(tinyCheckpoint("tiny-qwen", 0)), { maxContext: CONTEXT, ...options });
const failure = (work: Promise<unknown>): Promise<EngineError> =>
  work.then(
    () => expect.fail("it was taken"),
    (error) => error,
  );
const prompt = (length: number, factor = 37) => Array.from({ length }, (_, i) => (i * factor) % 900);

describe("layers over devices", () => {
  const sizes = (layers: number, memory: number[]) => splitLayers(layers, memory).map(({ start, end }) => end - start);

  it("are shared as the model card's split_model does: the first counts half, the last layer comes back to it", () => {
    // InternVL2_5-1B/2B (24 layers), 4B (36), 8B (32), 38B (64), 78B (80), by upstream's code; the last device's last layer is moved to the first.
    expect(sizes(24, [1])).toEqual([24]);
    expect(sizes(24, [1, 1])).toEqual([8, 15, 1]);
    expect(sizes(36, [1, 1])).toEqual([12, 23, 1]);
    expect(sizes(24, [1, 1, 1])).toEqual([5, 10, 8, 1]);
    expect(sizes(64, [1, 1, 1, 1])).toEqual([10, 18, 18, 17, 1]);
    expect(splitLayers(4, [1, 1])).toEqual([
      { device: 0, start: 0, end: 2 },
      { device: 1, start: 2, end: 3 },
      { device: 0, start: 3, end: 4 },
    ]);
  });

  it("by their memory, each device one at least", () => {
    expect(sizes(24, [16, 32])).toEqual([5, 18, 1]);
    expect(sizes(24, [1e9, 1])).toEqual([22, 1, 1]);
    expect(sizes(24, [1, 1e9])).toEqual([1, 22, 1]);
    expect(sizes(2, [1, 1])).toEqual([0, 1, 1]);
    for (let layers = 1; layers < 12; layers++) {
      for (let devices = 2; devices <= layers; devices++) {
        const all = sizes(
          layers,
          Array.from({ length: devices }, (_, i) => 1 + ((i * 7) % 5)),
        );
        expect(all.reduce((sum, each) => sum + each)).toBe(layers);
        expect(Math.min(...all.slice(1))).toBeGreaterThan(0);
      }
    }
  });
});

describe("devices: what is given is checked", () => {
  const device = { createBuffer() {}, queue: {}, lost: new Promise(() => {}), limits: {}, features: new Set() };
  it.each([
    ["an empty list", { devices: [] }, "devices is an empty list, needs a list of devices"],
    ["no list", { devices: { adapter: "x" } }, "devices is an object with adapter, needs a list of devices"],
    ["a name", { devices: ["llvmpipe"] }, 'devices[0] is "llvmpipe", needs a GPUDevice'],
    ["nothing", { devices: [{}, null] }, "devices[1] is null, needs a GPUDevice"],
    ["a device twice", { devices: [device, {}, device] }, "needs another device than devices[0]"],
    ["device and devices", { device: {}, devices: [{}] }, "load has device and devices, needs one of them"],
    ["split without devices", { split: [1, 2] }, "split has 2 numbers, devices has 0"],
    ["split of another length", { devices: [{}, {}], split: [1] }, "split has 1 numbers, devices has 2"],
    ["split of nothing", { devices: [{}, {}], split: [1, 0] }, "split is a list of 2, needs a list of numbers above 0"],
  ])("%s", async (_, options, message) => {
    const error = await failure(load(options as LoadOptions));
    expect([error.code, error.message]).toEqual(["bad-input", expect.stringContaining(message)]);
  });

  it("more than there are layers", async () => {
    const error = await failure(load({ devices: [{}, {}, {}, {}] }));
    expect([error.code, error.message]).toEqual(["bad-input", "devices has 4, this decoder has 3 layers"]);
  });

  it("a worker takes adapters, and no GPUDevice", () => {
    expect(acceptWorkerLoad("x", { devices: [{ adapter: "a" }, {}], split: [1, 2] }).devices).toEqual([{ adapter: "a" }, {}]);
    expect(() => acceptWorkerLoad("x", { devices: [{}, device] })).toThrow(/^devices\[1\] is .*a device cannot be handed to a worker/);
  });
});

/** What a model on several devices does as one on a single device. */
function sameAsOne(name: string, devices: () => NonNullable<LoadOptions["devices"]>): void {
  describe(name, () => {
    let one: InternVL;
    let many: InternVL;
    beforeAll(async () => {
      one = await load({ device: devices()[0] });
      many = await load({ devices: devices() });
    });
    afterAll(() => one.dispose());

    it("prompts in one chunk and in several, and steps: the same ids; a dispatch more or less nowhere", async () => {
      for (const length of [1, 300]) {
        const pixelValues = null;
        const [a, b] = await Promise.all([one, many].map((vlm) => generateTrace(vlm, { inputIds: prompt(length), pixelValues, steps: 4 })));
        expect(b!.ids).toEqual(a!.ids);
        expect(Math.max(...b!.logits.map((logits, i) => relativeL2(logits, a!.logits[i]!)))).toBeLessThan(1e-3);
      }
      const dispatches = async (vlm: InternVL) => {
        const { gpus, model } = partsOf(vlm);
        const count = () => gpus.reduce((sum, { counters }) => sum + counters.dispatches, 0);
        const before = count();
        await model.decoder.decode([10]);
        await model.flush();
        return count() - before;
      };
      expect(await dispatches(many)).toBe(await dispatches(one));
    });

    it("several slots at once, whose prompts' chunks and steps go between: the same ids", async () => {
      const requests = (inject("full") ? [20, 150, 300, 7] : [20, 200]).map((length, i) => ({ inputIds: prompt(length, 11 + i) }));
      const options = { steps: inject("full") ? 12 : 5, maxContext: CONTEXT };
      const [a, b] = await Promise.all([one, many].map((vlm) => generateBatch(vlm, requests, options)));
      expect(b).toEqual(a);
    });

    it.runIf(inject("full"))("sessions, batches, drawn answers; what is aborted leaves the slot to others", async () => {
      const said = async (vlm: InternVL) => {
        const session = vlm.session({ system: "You are a." });
        const first = await session.send("Tell me a story.", { maxTokens: 8 });
        const second = await session.send("And then?", { maxTokens: 8 });
        expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.prefilledTokens);
        const abort = new AbortController();
        const gone = vlm.chat("And you? ".repeat(20), { maxTokens: 200, signal: abort.signal });
        const aborted = failure(Promise.resolve(gone));
        await gone[Symbol.asyncIterator]().next();
        abort.abort();
        const { code } = await aborted;
        const batch = await vlm.batch(
          ["One.", "Two?", "Three!"].map((prompt, seed) => ({ prompt, temperature: 1, seed })),
          { maxTokens: 6 },
        );
        return [first.tokenIds, code, second.tokenIds, second.usage, batch.map((each) => ("tokenIds" in each ? each.tokenIds : each))];
      };
      const alone = await said(one);
      expect(alone[1]).toBe("aborted");
      expect(await said(many)).toEqual(alone);
    });

    it("says what it is made of, and is not traced", async () => {
      const { gpus } = partsOf(many);
      expect(gpus).toHaveLength(devices().length);
      expect(many.adapter).toBe(gpus.map(({ adapterName }) => adapterName).join(", "));
      expect(many.memory().bytes).toBe(gpus.reduce((sum, { memory }) => sum + memory.bytes, 0));
      const labels = gpus[1]!.memory.entries().map(({ label }) => label);
      expect(labels.some((label) => /layers\.1\./.test(label))).toBe(true);
      expect(labels.some((label) => /vision_model|embed_tokens|lm_head|layers\.2\./.test(label))).toBe(false);
    });

    it("a device that is lost is called by its place, also to those who come then; after dispose nothing is left on any", async () => {
      const { gpus } = partsOf(many);
      const last = gpus.length - 1;
      const reply = many.chat("Tell me a story.", { maxTokens: 300, temperature: 2, seed: 1 });
      const lost = failure(Promise.resolve(reply));
      await reply[Symbol.asyncIterator]().next();
      gpus[last]!.device.destroy();
      expect((await lost).code).toBe("device-lost");
      for (let again = 0; again < 2; again++) {
        const error = await failure(Promise.resolve(many.chat("Hello?")));
        expect([error.code, error.message]).toEqual(["device-lost", expect.stringMatching(`^devices\\[${last}\\] \\(.*\\) was lost`)]);
      }
      await many.dispose();
      expect(gpus.flatMap(({ memory }) => memory.entries())).toEqual([]);
    });
  });
}

sameAsOne("two devices of one adapter", () => [{}, {}]);

describe("what goes wrong on one of two devices", () => {
  let own: GPUDevice[];
  const kept: GPU[] = []; // Dawn's entries, while their devices live
  beforeEach(async () => {
    for (const [name, value] of Object.entries(globals)) if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
    const { name } = await platform.requestAdapter({});
    const gpu = create(["enable-dawn-features=allow_unsafe_apis", `adapter=${name}`]);
    kept.push(gpu);
    own = await Promise.all([0, 1].map(async () => (await gpu.requestAdapter())!.requestDevice()));
  });
  afterEach(() => {
    for (const device of own) device.destroy();
  });

  it.runIf(inject("full"))("the first is lost while a prompt is on its way", async () => {
    const vlm = await load({ devices: own });
    const lost = failure(Promise.resolve(vlm.chat("Tell me a story. ".repeat(20), { maxTokens: 300, temperature: 2, seed: 1 })));
    await new Promise((resolve) => setTimeout(resolve, 1));
    own[0]!.destroy();
    for (const error of [await lost, await failure(Promise.resolve(vlm.chat("Hello?")))])
      expect([error.code, error.message]).toEqual(["device-lost", expect.stringMatching(/^devices\[0\] \(.*\) was lost/)]);
    await vlm.dispose();
  });

  it("has no room: it is called by its name, and nothing stays on either", async () => {
    const second = own[1]!;
    const pop = second.popErrorScope.bind(second);
    const create = second.createBuffer.bind(second);
    let full = false;
    second.createBuffer = (descriptor) => {
      if (/layers\.1\..*down_proj/.test(descriptor.label ?? "")) full = true;
      return create(descriptor);
    };
    second.popErrorScope = async () => (await pop()) ?? (full ? ({ message: "full" } as GPUError) : null);
    const error = await failure(load({ devices: own, weights: "bf16" }));
    expect([error.code, error.message]).toEqual(["out-of-memory", expect.stringMatching(/^the weights: devices\[1\] \(.*\) has no room/)]);
  });

  it.runIf(inject("full"))("disposed while an answer runs and another was aborted, nothing is left on either", async () => {
    const vlm = await load({ devices: [{}, {}] });
    const held = partsOf(vlm).gpus.map(({ memory }) => memory);
    const running = vlm.chat("Tell me a story.", { maxTokens: 20 });
    const abort = new AbortController();
    const gone = failure(Promise.resolve(vlm.chat("Another.", { maxTokens: 200, signal: abort.signal })));
    await running[Symbol.asyncIterator]().next();
    abort.abort();
    await gone;
    await vlm.dispose();
    await Promise.resolve(running).catch(() => {});
    expect(held.map((memory) => memory.entries())).toEqual([[], []]);
  });
});

describe.runIf(inject("full"))("every kind of decoder", () => {
  it.each(["tiny-internlm2", "tiny-qwen-tied", "tiny-hf-qwen2", "tiny-hf-llama", "tiny-vit6b"])(
    "%s over two devices: the same logits",
    async (name) => {
      const files = memoryFiles(tinyCheckpoint(name, 1));
      const traces = [];
      for (const more of [{}, { devices: [{}, {}] }]) {
        const vlm = await InternVL.load(files, { maxContext: 64, ...more });
        traces.push(await generateTrace(vlm, { inputIds: prompt(20), steps: 4 }));
        await vlm.dispose();
      }
      expect(traces[1]).toEqual(traces[0]);
    },
  );
});

describe("devices of two adapters", () => {
  it.runIf(inject("full"))("lavapipe and SwiftShader in one process answer as nano does alone", async ({ skip }) => {
    const names = await platform.listAdapters();
    const both = ["llvmpipe", "swiftshader"].every((name) => names.some((each) => each.toLowerCase().includes(name)));
    if (!both) {
      console.log(`SKIPPED: needs lavapipe and SwiftShader in one process, there are ${names.join(", ")}`);
      skip();
    }
    const images = [pathOf("weights/nano/images/card-1.png")];
    const options = { maxContext: 512 };
    const devices = [{ adapter: "llvmpipe" }, { adapter: "swiftshader" }, { adapter: "llvmpipe" }];
    const vlm = await InternVL.load(pathOf("weights/nano"), { ...options, devices });
    expect(vlm.adapter).toMatch(/^llvmpipe.*, SwiftShader.*, llvmpipe/);
    expect((await vlm.chat("Please describe the image shortly.", { images })).text).toBe("A red triangle.");
    const again = await vlm.chat("<image>\nPlease describe the image shortly.", { images });
    expect([again.text, again.usage.cachedTokens > 0]).toEqual(["A red triangle.", true]);
    await vlm.dispose();
  });
});
