import { expect, it } from "vitest";
import { InternVL } from "../../../src/index.ts";
import { memoryFiles, readJson } from "../../shared/checkpoints.ts";
import { readRepository } from "./support.ts";

interface Case {
  name: string;
  question: string;
  input_ids: number[];
  new_ids: number[];
}

const ROOT = "test/fixtures/tiny/tiny-awq";
const FILES = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"];

it("a checkpoint that AWQ packed answers in a page: what unpacks it comes when it is loaded", async () => {
  const contents = await Promise.all(FILES.map((name) => readRepository(`${ROOT}/${name}`)));
  const { cases } = await readJson<{ cases: Case[] }>(readRepository, `${ROOT}/expected.json`);
  const { question, input_ids, new_ids } = cases.find(({ name }) => name === "text")!;
  const vlm = await InternVL.load(memoryFiles(Object.fromEntries(FILES.map((name, i) => [name, contents[i]!]))), {
    maxContext: 512,
    kv: "f32",
  });
  const { promptTokenIds, tokenIds } = await vlm.chat(question, { maxTokens: new_ids.length });
  expect(promptTokenIds).toEqual(input_ids);
  expect(tokenIds).toEqual(new_ids);
  await vlm.dispose();
});
