import { describe, expect, inject, it } from "vitest";
import { type ConvertOptions, convertWeights, inspect } from "../../src/convert.ts";
import { InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { type Checkpoint, openCheckpoint, readTensor } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { tinyFiles } from "../shared/checkpoints.ts";
import { HF, hfFiles, sentencePieceFiles } from "../shared/layouts.ts";
import { isQuick } from "../shared/quick.ts";
import { json, memoryFiles, memoryFolder, pathOf, readRepository, syntheticF32 } from "../support.ts";

type Files = Record<string, Uint8Array>;
type Folder = ReturnType<typeof memoryFolder>;
interface Case {
  name: string;
  mode?: string;
  question?: string;
  history?: [string, string][] | null;
  messages?: { role: "user"; content: string }[];
  pictures?: string[] | null;
  video?: boolean;
  pixel_values?: { name: string; shape: number[] } | null;
  input_ids: number[];
  new_ids: number[];
  response: string;
}

const ORIGINAL = ["tiny-qwen3", "tiny-internlm2-sp", "tiny-qwen", "tiny-qwen-tied", "tiny-vit6b", "tiny-internlm2"];
/** One of a kind; npm run test:full has them all. */
const some = <T>(all: readonly T[], count: number): readonly T[] => (inject("full") ? all : all.slice(0, count));
const FULL = "takes seconds on SwiftShader: npm run test:full";

async function filesOf(name: string): Promise<{ files: Files; cases: Case[] }> {
  const { weights_seed, cases } = json<{ weights_seed: number; cases: Case[] }>(`tiny/${name}/expected.json`);
  const files = HF.includes(name)
    ? await hfFiles(name, readRepository)
    : name === "tiny-internlm2-sp"
      ? await sentencePieceFiles(readRepository)
      : await tinyFiles(name, weights_seed, readRepository);
  return { files, cases };
}

async function convert(
  files: Files | Folder,
  options: Omit<ConvertOptions, "out" | "to"> & { to?: "bf16" | "f16" | "f32" },
): Promise<Folder> {
  const out = memoryFolder();
  await convertWeights("open" in files ? (files as Folder) : memoryFiles(files as Files), { to: "bf16", out, ...options });
  return out;
}

/** The tensors' dtypes, shapes and bytes, names of both spellings as one. */
async function tensorsOf(source: Parameters<typeof openCheckpoint>[0]): Promise<Map<string, string>> {
  const checkpoint: Checkpoint = await openCheckpoint(source);
  const found = new Map<string, string>();
  for (const [name, entry] of checkpoint.tensors) {
    const bytes = await readTensor(entry);
    const old = name
      .replace(/^model\.language_model\./, "language_model.model.")
      .replace(/^model\.(vision_tower|multi_modal_projector)\./, "$1.")
      .replace(/^lm_head\./, "language_model.lm_head.");
    found.set(old, `${entry.info.dtype} ${entry.info.shape} ${Buffer.from(bytes).toString("base64")}`);
  }
  return found;
}

/** One case by its ids, and one by its text where it has the same prompt in both layouts. */
async function answers(folder: Folder, { cases }: { cases: Case[] }, same: boolean | "ids"): Promise<void> {
  const vlm = await InternVL.load(folder, { maxContext: 512, kv: "f32" });
  try {
    const c = cases.find(({ pixel_values }) => pixel_values) ?? cases.find(({ name }) => name === "text")!;
    const one = Array.isArray(c.input_ids[0]) ? cases[0]! : c;
    const pixelValues = one.pixel_values && {
      data: syntheticF32(one.pixel_values.name, one.pixel_values.shape),
      shape: one.pixel_values.shape,
    };
    const { ids } = await generateTrace(vlm, { inputIds: one.input_ids, pixelValues, steps: one.new_ids.length });
    expect(ids).toEqual(one.new_ids);
    const text = cases.find(({ name, history }) => name === "text" && !history)!;
    const reply = await vlm.chat((text.messages ?? text.question)!, { maxTokens: text.new_ids.length });
    if (!same) return;
    expect(reply.promptTokenIds).toEqual(text.input_ids);
    expect(reply.tokenIds).toEqual(text.new_ids);
    if (same !== "ids") expect(reply.text.trim()).toBe(text.response.trim());
  } finally {
    await vlm.dispose();
  }
}

const change = (files: Files, name: string, to: object): Files => ({
  ...files,
  [name]: Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(files[name] ?? Buffer.from("{}")).toString()), ...to })),
});

describe("convert --layout", () => {
  it.each(some(ORIGINAL, isQuick ? 1 : 2))(
    "%s: upstream → hf → upstream keeps every byte of the tensors, and all answer with the golden ids",
    async (name) => {
      const golden = await filesOf(name);
      const hf = await convert(golden.files, { layout: "hf" });
      const found = await inspect(hf);
      expect(found).toMatchObject({ runs: true, config: { layout: "huggingface" } });
      expect(found.metadata.format).toBe("pt");
      // Of bytes that are no UTF-8 the tokenizers library, and so transformers, makes other texts than SentencePiece.
      await answers(hf, golden, name === "tiny-internlm2-sp" ? "ids" : true);
      const back = await convert(hf, { layout: "upstream" });
      expect(await inspect(back)).toMatchObject({ runs: true, config: { layout: "original" } });
      expect(await tensorsOf(back)).toEqual(await tensorsOf(memoryFiles(golden.files)));
      const [before, after] = [golden.files["config.json"]!, Buffer.concat(back.files.get("config.json")!)].map(parseConfig);
      const tied = !(await tensorsOf(back)).has("language_model.lm_head.weight");
      expect({ ...after, language: { ...after!.language, tied } }).toEqual({ ...before, language: { ...before!.language, tied } });
      await answers(back, golden, true);
    },
  );

  it.each(some(HF, 1))("%s: hf → upstream → hf keeps every byte of the tensors, and all answer with the golden ids", async (name) => {
    const golden = await filesOf(name);
    const upstream = await convert(golden.files, { layout: "upstream" });
    expect(await inspect(upstream)).toMatchObject({ runs: true, config: { layout: "original", template: "internvl2_5" } });
    await answers(upstream, golden, false); // upstream has no prompt without a system message
    const back = await convert(upstream, { layout: "hf" });
    expect(await tensorsOf(back)).toEqual(await tensorsOf(memoryFiles(golden.files)));
    expect((await inspect(back)).config).toMatchObject({ ...(await inspect(memoryFiles(golden.files))).config });
    await answers(back, golden, true);
  });
});

describe("convert --layout with more than names to do", () => {
  const LORA = json<{ adapters: Record<string, { cases: (Case & { margins: number[] })[] }> }>("tiny/tiny-lora/expected.json").adapters;

  const MERGED: [string, string, "hf" | "upstream"][] = [
    ["hf-plain", "tiny-hf-qwen2", "upstream"],
    ["all-towers", "tiny-qwen", "hf"],
  ];
  it.each(some(MERGED, 1))("%s merged into %s, as %s in f32: the adapter's golden ids", async (adapter, base, layout) => {
    const { files, cases } = await filesOf(base);
    const out = await convert(files, { layout, to: "f32", adapters: [pathOf(`test/fixtures/tiny/tiny-lora/${adapter}`)] });
    const dtypes = (await inspect(out)).totals.dtypes;
    expect(dtypes.F32!.tensors).toBeGreaterThan(20);
    const vlm = await InternVL.load(out, { maxContext: 512, kv: "f32" });
    const merged = LORA[adapter]!.cases.find(({ name }) => name === "text")!;
    const { input_ids } = cases.find(({ name }) => name === "text")!;
    const { ids } = await generateTrace(vlm, { inputIds: input_ids, steps: merged.new_ids.length });
    const unclear = merged.margins.findIndex((margin) => margin < 1e-3);
    const clear = unclear < 0 ? merged.new_ids.length : unclear;
    expect(ids.slice(0, clear)).toEqual(merged.new_ids.slice(0, clear));
    await vlm.dispose();
  });

  it("what AWQ packed is unpacked, and says so no more", async (context) => {
    context.skip(!inject("full"), FULL);
    const names = ["config.json", "generation_config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json"];
    const read = (name: string) => readRepository(`test/fixtures/tiny/tiny-awq/${name}`);
    const files = Object.fromEntries(await Promise.all([...names, "tokenizer_config.json"].map(async (name) => [name, await read(name)])));
    const found = await inspect(await convert(files, { layout: "hf", to: "f16" }));
    expect(found).toMatchObject({ runs: true, config: { layout: "huggingface", packed: undefined } });
    expect(found.totals.dtypes).not.toHaveProperty("I32");
  });

  it("rope as transformers 5 writes it becomes upstream's, and dynamic stays what it was", async () => {
    const { files } = await filesOf("tiny-hf-qwen2");
    const back = JSON.parse(Buffer.concat((await convert(files, { layout: "upstream" })).files.get("config.json")!).toString());
    expect(back.llm_config).toMatchObject({ rope_theta: 1e6, rope_scaling: null, max_position_embeddings: 4096 });
    const llama = await filesOf("tiny-hf-llama");
    const dynamic = JSON.parse(Buffer.concat((await convert(llama.files, { layout: "upstream" })).files.get("config.json")!).toString());
    // InternLM2's class takes these two keys alone.
    expect(dynamic.llm_config).toMatchObject({
      architectures: ["InternLM2ForCausalLM"],
      rope_theta: 1e6,
      rope_scaling: { type: "dynamic", factor: 2 },
    });
    expect(Object.keys(dynamic.llm_config.rope_scaling)).toHaveLength(2);
  });

  it("a system message of the model's own goes along, both ways", async () => {
    const { files } = await filesOf("tiny-qwen");
    const hf = await convert(change(files, "config.json", { system_message: "It's a {{ test }}\nof \\ text." }), { layout: "hf" });
    expect((await inspect(hf)).config.systemMessage).toBe("It's a {{ test }}\nof \\ text.");
    const back = await convert(hf, { layout: "upstream" });
    expect((await inspect(back)).config.systemMessage).toBe("It's a {{ test }}\nof \\ text.");
  });

  it("a model's tiles go along", async () => {
    const { files } = await filesOf("tiny-qwen");
    const hf = await convert(change(files, "config.json", { min_dynamic_patch: 2, max_dynamic_patch: 6 }), { layout: "hf" });
    expect((await inspect(hf)).config).toMatchObject({ minTiles: 2, maxTiles: 6 });
    const one = await convert(change(files, "config.json", { dynamic_image_size: false, use_thumbnail: false }), { layout: "hf" });
    expect((await inspect(one)).config).toMatchObject({ minTiles: 1, maxTiles: 1 });
  });
});

describe("convert --layout refuses, before anything is written", () => {
  const refused: [string, string, "hf" | "upstream", (files: Files) => Files, RegExp][] = [
    [
      "a template",
      "tiny-qwen",
      "hf",
      (files) => change(files, "config.json", { template: "Hermes-2" }),
      /template, "Hermes-2", has no counterpart/,
    ],
    [
      "pictures without a thumbnail",
      "tiny-qwen",
      "hf",
      (files) => change(files, "config.json", { use_thumbnail: false }),
      /use_thumbnail, false, has no counterpart/,
    ],
    [
      "another stop",
      "tiny-hf-qwen2",
      "upstream",
      (files) => change(files, "generation_config.json", { eos_token_id: 7 }),
      /eos_token_id without <\|im_end\|>/,
    ],
  ];
  it.each(refused)("%s of %s as %s", async (_, name, layout, changed, message) => {
    const out = memoryFolder();
    const work = convertWeights(memoryFiles(changed((await filesOf(name)).files)), { to: "bf16", out, layout });
    await expect(work).rejects.toMatchObject({ code: "bad-weights", message: expect.stringMatching(message) });
    expect([...out.files.keys()]).toEqual([]);
  });

  it("q8, q4, GGUF and layouts that there are not", async () => {
    const source = memoryFiles({});
    const out = memoryFolder();
    const options = (given: object) => ({ to: "bf16", out, ...given }) as ConvertOptions;
    for (const to of ["q8", "q4"]) {
      await expect(convertWeights(source, options({ to, layout: "hf" }))).rejects.toThrow(/transformers and upstream's code do not read/);
    }
    await expect(convertWeights(source, options({ to: "gguf" }))).rejects.toMatchObject({ hint: expect.stringContaining("llama.cpp") });
    await expect(convertWeights(source, options({ layout: "awq" }))).rejects.toThrow(/layout is "awq", needs one of hf, upstream/);
  });

  it("leaves nothing when writing fails", async () => {
    for (const failing of ["model.safetensors", "chat_template.jinja", "config.json"]) {
      const out = memoryFolder(failing);
      await expect(convertWeights(memoryFiles((await filesOf("tiny-qwen3")).files), { to: "bf16", out, layout: "hf" })).rejects.toThrow(
        "sand",
      );
      expect([...out.files.keys()]).toEqual([]);
    }
  });
});
