import { describe, expect, it } from "vitest";
import { type ConvertOptions, convertWeights, inspect } from "../../src/convert.ts";
import { InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { type Checkpoint, openCheckpoint, readTensor } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { tinyFiles } from "../shared/checkpoints.ts";
import { HF, hfFiles, sentencePieceFiles } from "../shared/layouts.ts";
import { json, memoryFiles, memoryFolder, readRepository, syntheticF32 } from "../support.ts";

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

const ORIGINAL = ["tiny-qwen", "tiny-qwen-tied", "tiny-vit6b", "tiny-internlm2", "tiny-qwen3", "tiny-internlm2-sp"];

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
async function answers(folder: Folder, { cases }: { cases: Case[] }, same: boolean): Promise<void> {
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
    expect(reply.text.trim()).toBe(text.response.trim());
  } finally {
    await vlm.dispose();
  }
}

describe("convert --layout", () => {
  it.each(ORIGINAL)("%s: upstream → hf → upstream keeps every byte of the tensors, and all answer with the golden ids", async (name) => {
    const golden = await filesOf(name);
    const hf = await convert(golden.files, { layout: "hf" });
    const found = await inspect(hf);
    expect(found).toMatchObject({ runs: true, config: { layout: "huggingface" } });
    expect(found.metadata.format).toBe("pt");
    await answers(hf, golden, true);
    const back = await convert(hf, { layout: "upstream" });
    expect(await inspect(back)).toMatchObject({ runs: true, config: { layout: "original" } });
    expect(await tensorsOf(back)).toEqual(await tensorsOf(memoryFiles(golden.files)));
    const [before, after] = [golden.files["config.json"]!, Buffer.concat(back.files.get("config.json")!)].map(parseConfig);
    const tied = !(await tensorsOf(back)).has("language_model.lm_head.weight");
    expect({ ...after, language: { ...after!.language, tied } }).toEqual({ ...before, language: { ...before!.language, tied } });
    await answers(back, golden, true);
  });

  it.each(HF)("%s: hf → upstream → hf keeps every byte of the tensors, and all answer with the golden ids", async (name) => {
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
