import { expect, inject, it } from "vitest";
import { InternVLWorker } from "../../../src/api/worker.ts";
import { InternVL } from "../../../src/index.ts";
import { memoryFiles, readJson, tinyFiles } from "../../shared/checkpoints.ts";
import { readRepository } from "./support.ts";

interface Case {
  name: string;
  question: string;
  new_ids: number[];
}

const ROOT = "test/fixtures/tiny/tiny-lora";
const FILES = ["adapter_config.json", "adapter_model.safetensors"];
const find = (cases: Case[]) => cases.find(({ name }) => name === "text")!;

it("a LoRA adapter is merged in a page's worker: from an address (npm run test:full: chosen files, any source, and without a worker)", async () => {
  const base = memoryFiles(await tinyFiles("tiny-qwen", 0, readRepository));
  const { question } = find((await readJson<{ cases: Case[] }>(readRepository, "test/fixtures/tiny/tiny-qwen/expected.json")).cases);
  const { adapters } = await readJson<{ adapters: Record<string, { cases: Case[] }> }>(readRepository, `${ROOT}/expected.json`);
  const { new_ids } = find(adapters.plain!.cases);
  const contents = await Promise.all(FILES.map((name) => readRepository(`${ROOT}/plain/${name}`)));
  const files = FILES.map((name, i) => new File([contents[i] as Uint8Array<ArrayBuffer>], name));
  const options = { maxContext: 512, kv: "f32", weights: "f32" } as const;
  if (inject("full")) {
    const inPage = await InternVL.load(base, { ...options, adapters: [files] });
    expect((await inPage.chat(question, { maxTokens: new_ids.length })).tokenIds).toEqual(new_ids);
    await inPage.dispose();
  }
  const address = `${location.origin}/${ROOT}/plain`;
  const opener = memoryFiles(Object.fromEntries(FILES.map((name, i) => [name, contents[i]!])));
  for (const adapter of inject("full") ? [address, files, opener] : [address]) {
    const worker = await InternVLWorker.load(base, { ...options, adapters: [adapter] });
    expect((await worker.chat(question, { maxTokens: new_ids.length })).tokenIds).toEqual(new_ids);
    await worker.dispose();
  }
});
