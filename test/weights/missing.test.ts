import { describe, expect, it } from "vitest";
import { openWeights } from "../../src/hub/open.ts";
import type { WeightSource } from "../../src/hub/source.ts";
import { EngineError, InternVL } from "../../src/index.ts";
import { refused } from "../shared/refused.ts";
import { fixture, memoryFiles, tinyCheckpoint } from "../support.ts";

const some = Uint8Array.of(1, 2, 3);
const LFS = new TextEncoder().encode(
  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 7425275904\n",
);
const whole = tinyCheckpoint("tiny-qwen", 0);
const { "model.safetensors": weights, ...small } = whole;

async function refusal(source: WeightSource): Promise<EngineError> {
  const error = await InternVL.load(source).then(
    async (vlm) => vlm.dispose(),
    (reason: unknown) => reason,
  );
  return refused(error, "bad-weights");
}

describe("a folder without the weights that it should have says what it has", () => {
  const cases: [string, Record<string, Uint8Array>, RegExp, RegExp][] = [
    ["nothing", small, /"model\.safetensors": no such file/, /fetch/],
    ["an adapter alone", { "adapter_config.json": some }, /LoRA adapter alone/, /adapters: \[FOLDER\]/],
    ["an adapter beside the configuration", { ...small, "adapter_model.safetensors": some }, /LoRA adapter alone/, /adapters: \[FOLDER\]/],
    ["a pickle", { ...small, "pytorch_model.bin": some }, /pytorch_model\.bin alone/, /safe_serialization/],
    ["pickled shards", { ...small, "pytorch_model.bin.index.json": some }, /PyTorch's pickle/, /safe_serialization/],
    [
      "shards without an index",
      { ...small, "model-00001-of-00004.safetensors": some, "model-00002-of-00004.safetensors": some },
      /model-00001-of-00004\.safetensors.*no model\.safetensors\.index\.json/,
      /fetch it/,
    ],
    [
      "one shard without an index",
      { ...small, "model-00001-of-00001.safetensors": some },
      /no model\.safetensors\.index\.json/,
      /fetch it/,
    ],
    ["a GGUF file", { ...small, "model-q4_k_m.gguf": some }, /model-q4_k_m\.gguf is a GGUF file/, /llama\.cpp's own format/],
    [
      "one of another name",
      { ...small, "model.fp16.safetensors": some },
      /"model\.fp16\.safetensors", but no model\.safetensors/,
      /call it/,
    ],
    ["no configuration", { "model.safetensors": weights! }, /no config\.json/, /whole checkpoint/],
  ];
  it.each(cases)("%s", async (_, files, message, hint) => {
    const error = await refusal({ ...memoryFiles(files), list: async () => Object.keys(files) });
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });

  it("counts a file that cannot be opened as there", async () => {
    const source: WeightSource = {
      async open(name) {
        if (name === "pytorch_model.bin") throw new EngineError("bad-weights", "it is larger than any small file");
        return undefined;
      },
    };
    await expect(openWeights(source)).rejects.toThrow("pytorch_model.bin alone");
  });
});

describe("Git LFS pointers are reported as such, whichever file they stand for", () => {
  const slow = Object.fromEntries(
    ["vocab.json", "merges.txt", "added_tokens.json"].map((name) => [name, fixture(`tiny/tokenizer/${name}`)]),
  );
  const { "tokenizer.json": _, ...rest } = whole;
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
  it.each(names)("%s", async (name) => {
    const error = await refusal(memoryFiles({ ...whole, [name]: LFS }));
    expect(error.message).toContain(name);
    expect(error.message).toContain("is a Git LFS pointer");
    expect(error.hint).toContain("git lfs pull");
  });
  it.each(Object.keys(slow))("%s", async (name) => {
    const error = await refusal(memoryFiles({ ...rest, ...slow, [name]: LFS }));
    expect(error.message).toContain(`${name} is a Git LFS pointer`);
  });
  it("the index", async () => {
    const error = await refusal(memoryFiles({ ...small, "model.safetensors.index.json": LFS }));
    expect(error.message).toContain("is a Git LFS pointer");
  });
});
