import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InternVL, type Message } from "../../src/index.ts";
import { decodeImage } from "../../src/media/decode.ts";
import { normalizeTiles } from "../../src/media/normalize.ts";
import { tileImage } from "../../src/media/tiles.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { checkpointTensors, type TensorShape } from "../../src/model/tensors.ts";
import { encodeHeader } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { synthesize } from "../../tools/synthetic/tensors.ts";
import { memoryFiles, type ReadRepository, readF32, readJson, relativeL2, syntheticF32, syntheticFile } from "./checkpoints.ts";

type Files = Record<string, Uint8Array>;
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * The tensors of a checkpoint in transformers' layout, by the synthetic rule under the original layout's names: both are declared in one
 * order, but for the vision tower's q, k and v, which are one tensor there.
 */
function huggingFaceFile(config: ModelConfig, seed: number, spelling: "old" | "new"): Uint8Array {
  const originals = checkpointTensors({ ...config, layout: "original" });
  const isHead = (name: string) => name.endsWith("lm_head.weight") && !config.language.tied;
  const has = (name: string) =>
    spelling === "new" ? isHead(name) || name.startsWith("model.") : isHead(name) && name !== "lm_head.weight";
  const own = checkpointTensors(config, has);
  const data: Uint8Array[] = [];
  const tensors: TensorShape[] = [];
  for (const { name, shape } of originals) {
    const values = synthesize(name, shape, seed, 0, sizeOf(shape));
    for (let at = 0; at < values.length; ) {
      const tensor = own[tensors.length]!;
      tensors.push(tensor);
      data.push(new Uint8Array(values.slice(at, (at += sizeOf(tensor.shape))).buffer));
    }
  }
  const header = encodeHeader(tensors.map((tensor) => ({ ...tensor, dtype: "BF16" as const })));
  const file = new Uint8Array(header.length + data.reduce((sum, each) => sum + each.length, 0));
  let at = header.length;
  file.set(header);
  for (const each of data) {
    file.set(each, at);
    at += each.length;
  }
  return file;
}

interface Part {
  type: "image" | "video" | "text";
  path?: string;
  text?: string;
}

interface HfCase {
  name: string;
  messages: { role: Message["role"]; content: string | Part[] }[];
  pictures: string[] | null;
  video: boolean;
  tiles: number | null;
  input_ids: number[];
  new_ids: number[];
  response: string;
}

interface HfGolden {
  weights_seed: number;
  spelling: "old" | "new";
  cases: HfCase[];
}

const HF_FILES: Readonly<Record<string, readonly string[]>> = {
  "tiny-hf-qwen2": ["processor_config.json"],
  "tiny-hf-qwen3": ["processor_config.json"],
  "tiny-hf-llama": ["processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "special_tokens_map.json"],
};
export const HF = Object.keys(HF_FILES);

const folderOf = (name: string): string => `test/fixtures/tiny/${name}`;

/** A folder of transformers' own layout, as save_pretrained wrote it. */
export async function hfFiles(name: string, read: ReadRepository): Promise<Files> {
  const own = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", ...HF_FILES[name]!];
  const files = await Promise.all(own.map(async (file) => [file, await read(`${folderOf(name)}/${file}`)] as const));
  const { weights_seed, spelling } = await readJson<HfGolden>(read, `${folderOf(name)}/expected.json`);
  const config = parseConfig(await read(`${folderOf(name)}/config.json`));
  return {
    ...Object.fromEntries(files),
    "chat_template.jinja": await read("test/fixtures/hf/chat_template.jinja"),
    "model.safetensors": huggingFaceFile(config, weights_seed, spelling),
  };
}

const FRAMES = [1, 2, 3, 4].map((n) => `frame-${n}.png`);

/** The messages of a case with its pictures' bytes, and its frames. */
async function askedOf(name: string, c: HfCase, read: ReadRepository): Promise<{ messages: Message[]; video?: Uint8Array[] }> {
  const picture = (file: string) => read(`${folderOf(name)}/pictures/${file}`);
  const part = async (each: Part) =>
    each.type === "image" ? { type: "image" as const, image: await picture(each.path!) } : { type: "text" as const, text: each.text! };
  const messages: Message[] = [];
  for (const { role, content } of c.messages) {
    const parts = typeof content === "string" ? content : await Promise.all(content.filter(({ type }) => type !== "video").map(part));
    messages.push({ role, content: parts });
  }
  return { messages, ...(c.video ? { video: await Promise.all(FRAMES.map(picture)) } : {}) };
}

/** Tiles of bytes [count, size, size, 3] as the vision tower takes them. */
const pixelsOf = (tiles: Uint8Array, size: number) => {
  const count = tiles.length / (3 * size * size);
  return { data: normalizeTiles(tiles, count, size), shape: [count, 3, size, size] };
};

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The checks of one checkpoint of transformers' own layout, the same in Node and in a page; `only` some cases. */
export async function hfSuite(name: string, read: ReadRepository, only?: readonly string[]): Promise<void> {
  const golden = await readJson<HfGolden>(read, `${folderOf(name)}/expected.json`);
  const first = readF32(await read(`${folderOf(name)}/expected.safetensors`)).get("first_logits")!;
  const vocab = first.shape[1]!;

  describe(name, () => {
    let vlm: InternVL;
    let size: number;
    beforeAll(async () => {
      const files = await hfFiles(name, read);
      size = parseConfig(files["config.json"]!).tileSize;
      vlm = await InternVL.load(memoryFiles(files), { maxContext: 512, kv: "f32" });
    });
    afterAll(() => vlm?.dispose());

    const cases = golden.cases.map((c, i) => [c.name, c, i] as const).filter(([each]) => !only || only.includes(each));

    it.each(cases)("%s: chat gives transformers' prompt, ids and text from the picture files", async (_, c) => {
      const { messages, video } = await askedOf(name, c, read);
      const reply = vlm.chat(messages, { maxTokens: c.new_ids.length, video });
      const pieces: string[] = [];
      for await (const piece of reply) pieces.push(piece);
      const { promptTokenIds, tokenIds, text } = await reply;
      expect(promptTokenIds).toEqual(c.input_ids);
      expect(tokenIds).toEqual(c.new_ids);
      expect(text).toBe(c.response);
      expect(pieces.join("")).toBe(text);
    });

    it.each(cases)("%s: logits within the f32 bound from transformers' tiles, within Pillow's distance from ours", async (_, c, i) => {
      const rgb = async (file: string) => decodeImage(await read(`${folderOf(name)}/${file}`));
      const theirs = c.video ? ["tiles-video.png"] : (c.pictures ?? []).map((file) => `tiles-${file}`);
      const tiles = joined(await Promise.all(theirs.map(async (file) => (await rgb(file)).data)));
      const want = first.data.subarray(i * vocab, (i + 1) * vocab);
      const trace = async (bytes: Uint8Array, steps: number) =>
        generateTrace(vlm, { inputIds: c.input_ids, steps, ...(bytes.length ? { pixelValues: pixelsOf(bytes, size) } : {}) });
      const { ids, logits } = await trace(tiles, c.new_ids.length);
      expect(ids).toEqual(c.new_ids);
      expect(relativeL2(logits[0]!, want)).toBeLessThan(2e-5);
      if (tiles.length === 0) return;
      const files = (c.video ? FRAMES : c.pictures!).map((file) => `pictures/${file}`);
      const cut = async (file: string) => tileImage(await rgb(file), { maxTiles: c.video ? 1 : 12, tileSize: size }).tiles;
      const ours = joined(await Promise.all(files.map(cut)));
      expect(ours.length).toBe(tiles.length);
      expect(relativeL2((await trace(ours, 1)).logits[0]!, want)).toBeLessThan(5e-3);
    });
  });
}

interface SpCase {
  name: string;
  question: string;
  history: [string, string][] | null;
  pixel_values: { name: string; shape: number[] } | null;
  input_ids: number[];
  new_ids: number[];
  response: string;
}

/** A checkpoint whose tokenizer is a tokenizer.model. */
export async function sentencePieceFiles(read: ReadRepository): Promise<Files> {
  const folder = folderOf("tiny-internlm2-sp");
  const names = ["tokenizer.model", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"];
  const config = await read(`${folder}/config.json`);
  const { weights_seed } = await readJson<{ weights_seed: number }>(read, `${folder}/expected.json`);
  return {
    "config.json": config,
    "model.safetensors": syntheticFile(checkpointTensors(parseConfig(config)), weights_seed),
    ...Object.fromEntries(await Promise.all(names.map(async (file) => [file, await read(`test/fixtures/sentencepiece/${file}`)] as const))),
  };
}

/** The checks of tiny-internlm2-sp; `only` some cases. */
export async function sentencePieceSuite(read: ReadRepository, only?: readonly string[]): Promise<void> {
  const name = "tiny-internlm2-sp";
  const golden = await readJson<{ cases: SpCase[] }>(read, `${folderOf(name)}/expected.json`);
  const first = readF32(await read(`${folderOf(name)}/expected.safetensors`)).get("first_logits")!;
  const vocab = first.shape[1]!;

  describe(name, () => {
    let vlm: InternVL;
    beforeAll(async () => {
      vlm = await InternVL.load(memoryFiles(await sentencePieceFiles(read)), { maxContext: 512, kv: "f32" });
    });
    afterAll(() => vlm?.dispose());

    const cases = golden.cases.map((c, i) => [c.name, c, i] as const).filter(([each]) => !only || only.includes(each));

    it.each(cases)("%s: logits and ids, and from the text", async (_, c, i) => {
      const pixels = c.pixel_values && { data: syntheticF32(c.pixel_values.name, c.pixel_values.shape), shape: c.pixel_values.shape };
      const { ids, logits } = await generateTrace(vlm, { inputIds: c.input_ids, pixelValues: pixels, steps: c.new_ids.length });
      expect(ids).toEqual(c.new_ids);
      expect(relativeL2(logits[0]!, first.data.subarray(i * vocab, (i + 1) * vocab))).toBeLessThan(2e-5);
      if (pixels) return; // its tiles are of no picture
      const { promptTokenIds, tokenIds, text } = await vlm.chat(c.question, { maxTokens: c.new_ids.length });
      expect(promptTokenIds).toEqual(c.input_ids);
      expect(tokenIds).toEqual(c.new_ids);
      expect(text).toBe(c.response);
    });
  });
}
