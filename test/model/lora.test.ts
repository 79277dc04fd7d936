import { describe, expect, it } from "vitest";
import { convertWeights, inspect } from "../../src/convert.ts";
import { InternVL, type LoadOptions } from "../../src/index.ts";
import { encodeHeader, parseHeader } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { fixture, json, memoryFiles, memoryFolder, pathOf, readF32, relativeL2, syntheticF32, tinyCheckpoint } from "../support.ts";

interface Case {
  name: string;
  input_ids: number[];
  new_ids: number[];
  margins: number[];
  pixel_values: { name: string; shape: number[] } | null;
}

const ROOT = "tiny/tiny-lora";
const golden = json<{ adapters: Record<string, { base?: string; cases: Case[] }> }>(`${ROOT}/expected.json`);
const logits = readF32(fixture(`${ROOT}/expected.safetensors`));
const base = tinyCheckpoint("tiny-qwen", 0);
const baseCases = json<{ cases: Case[] }>("tiny/tiny-qwen/expected.json").cases;
const UNMERGED = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"];
const unmerged = Object.fromEntries(UNMERGED.map((name) => [name, new Uint8Array(fixture(`${ROOT}/upstream-unmerged/${name}`))]));

const adapterFiles = (name: string): Record<string, Uint8Array> =>
  Object.fromEntries(
    ["adapter_config.json", "adapter_model.safetensors"].map((file) => [file, new Uint8Array(fixture(`${ROOT}/${name}/${file}`))]),
  );

const open = (files: Record<string, Uint8Array>, options: LoadOptions = {}) =>
  InternVL.load(memoryFiles(files), { maxContext: 512, kv: "f32", ...options });

async function run(vlm: InternVL, { pixel_values: pixels, input_ids: ids, new_ids: expected }: Case) {
  const pixelValues = pixels ? syntheticF32(pixels.name, pixels.shape) : undefined;
  return generateTrace(vlm, { pixelValues, inputIds: ids, steps: expected.length });
}

/** First logits within the bound; ids equal up to the first step whose margin is below `margin`. */
async function compare(name: string, vlm: InternVL, bound: number, margin: number, base: readonly Case[], most?: number): Promise<void> {
  const expected = logits.get(`${name}.first_logits`)!;
  const width = expected.shape[1]!;
  for (const [i, c] of golden.adapters[name]!.cases.slice(0, most).entries()) {
    const { input_ids, pixel_values } = base.find((each) => each.name === c.name)!;
    const { ids, logits: got } = await run(vlm, { ...c, input_ids, pixel_values });
    const error = relativeL2(got[0]!, expected.data.subarray(i * width, (i + 1) * width));
    console.log(`${name} ${c.name} in ${vlm.weights} on ${vlm.adapter}: ${error.toExponential(2)}`);
    expect(error, c.name).toBeLessThan(bound);
    const unclear = c.margins.findIndex((each) => each < margin);
    const clear = unclear < 0 ? c.new_ids.length : unclear;
    expect(ids.slice(0, clear), c.name).toEqual(c.new_ids.slice(0, clear));
  }
}

/** Of the cases, whose pictures and prompts one adapter has gone through: the others have one in the ordinary run on SwiftShader. */
const FEW = isQuick ? 1 : undefined;

const ADAPTERS = ["plain", "rslora", "rank-pattern", "modules-to-save", "all-towers"];

describe("adapters on tiny-qwen", () => {
  it.each(ADAPTERS)("%s in f32", async (name) => {
    const vlm = await open(base, { adapters: [memoryFiles(adapterFiles(name))], weights: "f32" });
    await compare(name, vlm, 2e-5, 1e-3, baseCases, name === "plain" ? undefined : FEW);
    expect(vlm.memory().entries.some(({ label }) => label.includes("lora_"))).toBe(false);
    await vlm.dispose();
  });

  it("rounded once to bf16 where the base is held so", async (context) => {
    context.skip(isQuick, `another rounding: ${ELSEWHERE}`);
    const vlm = await open(base, { adapters: [pathOf(`test/fixtures/${ROOT}/plain`)] });
    expect(vlm.weights).toBe("bf16");
    await compare("plain", vlm, 2e-2, 0.04, baseCases, FEW);
    await vlm.dispose();
  });

  it("files that somebody chose, and what is quantised after the merge", async () => {
    const files = Object.entries(adapterFiles("modules-to-save")).map(
      ([name, bytes]) => new File([bytes as Uint8Array<ArrayBuffer>], name),
    );
    const vlm = await open(base, { adapters: [files], weights: "q8" });
    await compare("modules-to-save", vlm, 5e-2, 0.2, baseCases, FEW);
    await vlm.dispose();
  });

  it("two that add up are one with both", async (context) => {
    context.skip(isQuick, `three loads: ${ELSEWHERE}`);
    const [plain, rslora] = [adapterFiles("plain"), adapterFiles("rslora")];
    const c = baseCases.find(({ name }) => name === "single")!;
    const both = await open(base, { adapters: [memoryFiles(plain), memoryFiles(rslora)], weights: "f32" });
    const { logits: sum } = await run(both, c);
    await both.dispose();
    const swapped = await open(base, { adapters: [memoryFiles(rslora), memoryFiles(plain)], weights: "f32" });
    expect(relativeL2((await run(swapped, c)).logits[0]!, sum[0]!)).toBeLessThan(1e-5);
    await swapped.dispose();
    const one = await open(base, { adapters: [memoryFiles(plain)], weights: "f32" });
    expect(relativeL2((await run(one, c)).logits[0]!, sum[0]!)).toBeGreaterThan(0.1);
    await one.dispose();
  });

  it("convert merges: what it writes gives what loading with the adapter gives", async () => {
    const adapters = [memoryFiles(adapterFiles("all-towers"))];
    const out = memoryFolder();
    const { tensors } = await convertWeights(memoryFiles(base), { to: "bf16", out, adapters });
    expect(tensors.filter(({ nmse }) => nmse > 0).length).toBe(35);
    expect((await inspect(out)).metadata.source_sha256).toContain("adapter_model.safetensors");
    const c = baseCases.find(({ name }) => name === "single")!;
    const converted = await InternVL.load(out, { maxContext: 512, kv: "f32" });
    const loaded = await open(base, { adapters });
    expect(relativeL2((await run(converted, c)).logits[0]!, (await run(loaded, c)).logits[0]!)).toBe(0);
    await compare("all-towers", converted, 2e-2, 0.04, baseCases, FEW);
    await Promise.all([converted.dispose(), loaded.dispose()]);
  });
});

describe("upstream's unmerged checkpoint", () => {
  it("is merged while loading", async () => {
    const vlm = await open(unmerged, { weights: "f32" });
    await compare("upstream-unmerged", vlm, 2e-5, 1e-3, golden.adapters["upstream-unmerged"]!.cases);
    await vlm.dispose();
  });

  it("converts into a merged one", async (context) => {
    context.skip(isQuick, `a conversion once more: ${ELSEWHERE}`);
    const out = memoryFolder();
    await convertWeights(memoryFiles(unmerged), { to: "f16", out });
    const found = await inspect(out);
    expect(found.config.lora).toEqual({ language: 0, vision: 0 });
    expect(found.tensors.some(({ name }) => /lora|base_/.test(name))).toBe(false);
    const vlm = await InternVL.load(out, { maxContext: 512, kv: "f32" });
    await compare("upstream-unmerged", vlm, 2e-2, 0.04, golden.adapters["upstream-unmerged"]!.cases, FEW);
    await vlm.dispose();
  });

  it.each<[object, RegExp]>([
    [{ use_llm_lora: 0 }, /of a LoRA that config\.json says nothing of/],
    [{ use_llm_lora: 16 }, /needs \[16,/],
    [{ use_backbone_lora: -1 }, /use_backbone_lora is -1, needs a rank/],
  ])("%j is refused", async (change, message) => {
    const config = { ...(JSON.parse(Buffer.from(unmerged["config.json"]!).toString()) as object), ...change };
    await expect(open({ ...unmerged, "config.json": Buffer.from(JSON.stringify(config)) })).rejects.toThrow(message);
  });

  it("a rank without a LoRA is refused", async () => {
    const config = { ...(JSON.parse(Buffer.from(base["config.json"]!).toString()) as object), use_llm_lora: 8 };
    await expect(open({ ...base, "config.json": Buffer.from(JSON.stringify(config)) })).rejects.toThrow(/use_llm_lora is 8, but no tensor/);
  });
});

/** An adapter of zeros for some modules. */
function made(settings: object, tensors: Record<string, number[]>): Record<string, Uint8Array> {
  const specs = Object.entries(tensors).map(([name, shape]) => ({ name: `base_model.model.${name}`, dtype: "F32" as const, shape }));
  const bytes = specs.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  return {
    "adapter_config.json": Buffer.from(JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 4, ...settings })),
    "adapter_model.safetensors": Buffer.concat([encodeHeader(specs), new Uint8Array(bytes)]),
  };
}

const q = "language_model.model.layers.0.self_attn.q_proj";
const good = { [`${q}.lora_A.weight`]: [2, 128], [`${q}.lora_B.weight`]: [128, 2] };

describe("adapters are refused", () => {
  const settings: [object, RegExp][] = [
    [{ peft_type: "IA3" }, /adapter_config\.json: peft_type is "IA3", needs "LORA"/],
    [{ use_dora: true }, /use_dora is true/],
    [{ bias: "lora_only" }, /bias is "lora_only"/],
    [{ lora_bias: true }, /lora_bias is true/],
    [{ fan_in_fan_out: true }, /fan_in_fan_out is true/],
    [{ layer_replication: [[0, 2]] }, /layer_replication is a list/],
    [{ trainable_token_indices: [1] }, /trainable_token_indices/],
    [{ target_parameters: ["x"] }, /target_parameters/],
    [{ use_qalora: true }, /use_qalora/],
    [{ init_lora_weights: "pissa" }, /init_lora_weights is "pissa"/],
    [{ alora_invocation_tokens: [1, 2] }, /alora_invocation_tokens/],
    [{ something_new: 7 }, /something_new is 7/],
    [{ r: 0 }, /r is 0/],
    [{ lora_alpha: "x" }, /lora_alpha is "x"/],
    [{ rank_pattern: { "(": 2 } }, /rank_pattern .*regular expressions/],
    [{ rank_pattern: { "(a+)+": 2 } }, /rank_pattern .*too involved/],
    [{ rank_pattern: { q_proj: 3 } }, /lora_A\.weight" has shape \[2,128\], needs \[3,128\]/],
    [{ modules_to_save: ["lm_head"] }, /modules_to_save names "lm_head"/],
    [{ layers_to_transform: [1, 2] }, /layers\.0\.self_attn\.q_proj\.lora_A\.weight" is of a layer that layers_to_transform and/],
    [{ layers_to_transform: 1 }, /is of a layer that layers_to_transform and layers_pattern leave out/],
    [{ layers_to_transform: [0], layers_pattern: "h" }, /is of a layer that layers_to_transform and layers_pattern leave out/],
    [{ layers_to_transform: "all" }, /layers_to_transform is "all", needs a layer's number or a list of such/],
    [{ layers_to_transform: [0], layers_pattern: 5 }, /layers_pattern is 5, needs a name or a list of names/],
    [{ layers_to_transform: [0], layers_pattern: ["(a+)+"] }, /layers_pattern is .*too involved/],
    [{ layers_to_transform: [0], target_modules: ".*q_proj" }, /layers_to_transform is \[0\], needs to be absent where target_modules/],
  ];
  it.each(settings)("%j", async (change, message) => {
    await expect(open(base, { adapters: [memoryFiles(made(change, good))] })).rejects.toMatchObject({
      code: "bad-weights",
      message: expect.stringMatching(message),
    });
  });

  it.each<object>([
    { layers_to_transform: 0 },
    { layers_to_transform: [3, 0] },
    { layers_to_transform: [0], layers_pattern: [] },
    { layers_to_transform: [0], layers_pattern: "layers" },
    { layers_to_transform: [0], layers_pattern: ["h", "layer(?:s)"] },
    { layers_to_transform: [], layers_pattern: ["h"] },
    { layers_to_transform: null, layers_pattern: null },
    { layers_to_transform: [1], target_modules: [q] }, // named whole, it has an adapter whatever its layer
  ])("not for layers that peft has: %j", async (change) => {
    const vlm = await open(base, { adapters: [memoryFiles(made(change, good))] });
    await vlm.dispose();
  });

  const tensors: [string, Record<string, number[]>, RegExp][] = [
    [
      "a key that matches nothing",
      {
        ...good,
        "language_model.model.layers.9.self_attn.q_proj.lora_A.weight": [2, 128],
        "language_model.model.layers.9.self_attn.q_proj.lora_B.weight": [128, 2],
      },
      /layers\.9.*which the model has not/,
    ],
    ["a whole tensor of nothing", { ...good, "score.weight": [2, 128] }, /"base_model\.model\.score\.weight" matches nothing/],
    ["half of a pair", { [`${q}.lora_A.weight`]: [2, 128] }, /no lora_B beside it/],
    [
      "another width",
      { [`${q}.lora_A.weight`]: [2, 64], [`${q}.lora_B.weight`]: [128, 2] },
      /lora_A\.weight" has shape \[2,64\], needs \[2,128\]/,
    ],
    [
      "a norm",
      { "language_model.model.norm.lora_A.weight": [2, 128], "language_model.model.norm.lora_B.weight": [128, 2] },
      /is for "language_model\.model\.norm\.weight" \[128\]: only LoRA of matrices loads/,
    ],
    ["DoRA's magnitudes", { ...good, [`${q}.lora_magnitude_vector.weight`]: [128] }, /lora_magnitude_vector\.weight" is of a kind of LoRA/],
    [
      "a convolution",
      {
        "vision_model.embeddings.patch_embedding.lora_A.weight": [2, 3, 14, 14],
        "vision_model.embeddings.patch_embedding.lora_B.weight": [128, 2, 1, 1],
      },
      /is for "vision_model\.embeddings\.patch_embedding\.weight" \[128,3,14,14\]: only LoRA of matrices loads/,
    ],
    [
      "an embedding",
      { "language_model.model.embed_tokens.lora_embedding_A": [2, 1031], "language_model.model.embed_tokens.lora_embedding_B": [128, 2] },
      /lora_embedding_A" is of a kind of LoRA that does not load/,
    ],
    ["nothing", {}, /holds no tensors/],
  ];
  it.each(tensors)("%s", async (_, shapes, message) => {
    await expect(open(base, { adapters: [memoryFiles(made({}, shapes))] })).rejects.toMatchObject({
      code: "bad-weights",
      message: expect.stringMatching(message),
    });
  });

  it("tiny-lora's dora, folders that are none, and values that are none", async () => {
    await expect(open(base, { adapters: [memoryFiles(adapterFiles("dora"))] })).rejects.toThrow(/use_dora is true, needs false/);
    await expect(open(base, { adapters: [memoryFiles(base)] })).rejects.toThrow(/adapter's folder holds config\.json: a whole model/);
    const { "adapter_model.safetensors": file, ...rest } = adapterFiles("plain");
    await expect(open(base, { adapters: [memoryFiles(rest)] })).rejects.toThrow(/holds no adapter_model\.safetensors/);
    await expect(open(base, { adapters: [memoryFiles({ ...rest, "adapter_model.bin": file! })] })).rejects.toThrow(/pickle/);
    await expect(open(base, { adapters: "./x" as never })).rejects.toThrow(/adapters is "\.\/x", needs a list/);
    await expect(open(base, { adapters: [7 as never] })).rejects.toThrow(/an adapter's source is 7/);
    const { tensors } = parseHeader(file!, file!.length, "fixture");
    const broken = file!.slice();
    broken.set([0, 0, 0x80, 0x7f], [...tensors.values()][0]!.begin);
    await expect(open(base, { adapters: [memoryFiles({ ...rest, "adapter_model.safetensors": broken })] })).rejects.toThrow(
      /holds 1 infinities or NaN/,
    );
  });
});

describe("places", () => {
  it("names of transformers' class, and of what peft did not write itself", async () => {
    const vision = (which: string) => ({
      [`model.vision_tower.encoder.layer.0.attention.${which}_proj.lora_A.weight`]: [2, 128],
      [`model.vision_tower.encoder.layer.0.attention.${which}_proj.lora_B.weight`]: [128, 2],
    });
    const adapter = made(
      {},
      {
        ...vision("q"),
        ...vision("v"),
        "model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight": [2, 128],
        "model.language_model.layers.0.self_attn.q_proj.lora_B.default.weight": [128, 2],
        "model.multi_modal_projector.linear_1.lora_A.weight": [2, 512],
        "model.multi_modal_projector.linear_1.lora_B.weight": [128, 2],
        "lm_head.lora_A.weight": [2, 128],
        "lm_head.lora_B.weight": [1031, 2],
      },
    );
    const vlm = await open(base, { adapters: [memoryFiles(adapter)], weights: "f32" });
    await vlm.dispose();
  });

  it("a third of q, k and v of the vision tower", async (context) => {
    context.skip(isQuick, `several loads: ${ELSEWHERE}`);
    const names = {
      a: "model.vision_tower.encoder.layer.0.attention.k_proj.lora_A.weight",
      b: "model.vision_tower.encoder.layer.0.attention.k_proj.lora_B.weight",
    };
    const third = made({}, { [names.a]: [2, 128], [names.b]: [128, 2] });
    const whole = made(
      {},
      {
        "vision_model.encoder.layers.0.attn.qkv.lora_A.weight": [2, 128],
        "vision_model.encoder.layers.0.attn.qkv.lora_B.weight": [384, 2],
      },
    );
    const values = (count: number, from: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(from + i) / 4);
    const fill = (file: Uint8Array, a: Float32Array, b: Float32Array) => {
      const bytes = new Uint8Array(a.byteLength + b.byteLength);
      bytes.set(new Uint8Array(a.buffer));
      bytes.set(new Uint8Array(b.buffer), a.byteLength);
      return Buffer.concat([file.slice(0, file.length - bytes.length), bytes]);
    };
    const [a, b] = [values(256, 0), values(256, 99)];
    const spread = new Float32Array(768);
    spread.set(b, 256); // rows 128 … 255: k
    third["adapter_model.safetensors"] = fill(third["adapter_model.safetensors"]!, a, b);
    whole["adapter_model.safetensors"] = fill(whole["adapter_model.safetensors"]!, a, spread);
    const c = baseCases.find(({ name }) => name === "single")!;
    const results: Float32Array[] = [];
    for (const adapters of [[memoryFiles(third)], [memoryFiles(whole)], []]) {
      const vlm = await open(base, { adapters, weights: "f32" });
      results.push((await run(vlm, c)).logits[0]!);
      await vlm.dispose();
    }
    expect(relativeL2(results[0]!, results[1]!)).toBe(0);
    expect(relativeL2(results[0]!, results[2]!)).toBeGreaterThan(1e-3);
  });

  it("a head of its own for a model whose head is the embedding", async () => {
    const tied = tinyCheckpoint("tiny-qwen-tied", 3);
    const adapter = made({ modules_to_save: ["embed_tokens"] }, { "language_model.model.embed_tokens.weight": [1031, 256] });
    const vlm = await open(tied, { adapters: [memoryFiles(adapter)], weights: "f32" });
    expect(vlm.memory().entries.filter(({ label }) => /lm_head|embed_tokens/.test(label)).length).toBeGreaterThan(1);
    await vlm.dispose();
  });
});
