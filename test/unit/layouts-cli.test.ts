import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, inject, it } from "vitest";
import { hostedCli } from "../shared/cli.ts";
import { HF, hfFiles, sentencePieceFiles } from "../shared/layouts.ts";
import { fixture, json, pathOf, readRepository, tinyCheckpoint } from "../support.ts";

const folder = mkdtempSync(join(tmpdir(), "internvl-layouts-"));
afterAll(() => rmSync(folder, { recursive: true }));

const host = hostedCli();
afterAll(() => host.close());

async function internvl<T>(...args: string[]): Promise<T> {
  const { status, stdout, stderr } = await host.run([...args, "--json"], folder);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

interface Case {
  name: string;
  question?: string;
  input_ids: number[];
  new_ids: number[];
  response: string;
}
interface Answer {
  tokenIds: number[];
  promptTokenIds: number[];
  text: string;
}
interface Looked {
  runs: boolean;
  family: string;
  config: { layout: string };
}

/** Runs a folder from the command line as it is, and converted to f16 in shards. */
async function chatsAsConverted(name: string, c: Case, ask: readonly string[]): Promise<void> {
  const chat = (model: string) =>
    internvl<Answer>("chat", "--model", model, "--max-tokens", String(c.new_ids.length), "--max-context", "512", ...ask);
  const want = { tokenIds: c.new_ids, promptTokenIds: c.input_ids, text: c.response };
  expect(await chat(name)).toMatchObject(want);
  await internvl("convert", "--model", name, "--out", `${name}-f16`, "--to", "f16", "--shard-size", "300000");
  expect(await internvl<Looked>("inspect", `${name}-f16`, "--verify")).toMatchObject({ runs: true });
  expect(await chat(`${name}-f16`)).toMatchObject(want);
}

function write(name: string, files: Record<string, Uint8Array>): void {
  mkdirSync(join(folder, name));
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(folder, name, file), bytes);
}

// The others differ in names, which the models' tests see.
it.each(inject("full") ? HF : HF.slice(2))("%s from the command line: inspect, chat, convert, chat", async (name) => {
  write(name, await hfFiles(name, readRepository));
  expect(await internvl<Looked>("inspect", name)).toMatchObject({
    runs: true,
    family: expect.stringMatching(/-hf/i),
    config: { layout: "huggingface" },
  });
  const c = json<{ cases: Case[] }>(`tiny/${name}/expected.json`).cases.find((each) => each.name === "image")!;
  const { text } = (c as unknown as { messages: { content: { text?: string }[] }[] }).messages[0]!.content[1]!;
  await chatsAsConverted(name, c, ["--image", pathOf(`test/fixtures/tiny/${name}/pictures/a.png`), text!]);
});

it("tiny-internlm2-sp from the command line: inspect, chat, convert, chat", async () => {
  write("tiny-internlm2-sp", await sentencePieceFiles(readRepository));
  expect(await internvl<Looked>("inspect", "tiny-internlm2-sp")).toMatchObject({ runs: true, family: "InternVL2_5-2B, -8B, -26B" });
  const c = json<{ cases: Case[] }>("tiny/tiny-internlm2-sp/expected.json").cases.find((each) => each.name === "text")!;
  await chatsAsConverted("tiny-internlm2-sp", c, [c.question!]);
});

it("tiny-awq from the command line: inspect, chat, convert to bf16, chat", async (context) => {
  context.skip(!inject("full"), "five runs of the program: npm run test:full");
  const files = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"];
  write("tiny-awq", Object.fromEntries(files.map((file) => [file, new Uint8Array(fixture(`tiny/tiny-awq/${file}`))])));
  const c = json<{ cases: Case[] }>("tiny/tiny-awq/expected.json").cases.find((each) => each.name === "text")!;
  const chat = (model: string) =>
    internvl<Answer>("chat", "--model", model, "--max-tokens", String(c.new_ids.length), "--max-context", "512", c.question!);
  expect(await internvl<Looked>("inspect", "tiny-awq")).toMatchObject({ runs: true });
  expect(await chat("tiny-awq")).toMatchObject({ tokenIds: c.new_ids, promptTokenIds: c.input_ids });
  await internvl("convert", "--model", "tiny-awq", "--out", "tiny-awq-bf16", "--to", "bf16");
  expect((await chat("tiny-awq-bf16")).promptTokenIds).toEqual(c.input_ids);
});

it("a LoRA adapter from the command line: chat --lora, convert --lora --layout hf, chat", async (context) => {
  context.skip(!inject("full"), "five runs of the program: npm run test:full");
  write("tiny-qwen", tinyCheckpoint("tiny-qwen", 0));
  const lora = pathOf("test/fixtures/tiny/tiny-lora/plain");
  const adapted = json<{ adapters: Record<string, { cases: Case[] }> }>("tiny/tiny-lora/expected.json").adapters.plain!.cases;
  const [c, { new_ids }] = [json<{ cases: Case[] }>("tiny/tiny-qwen/expected.json").cases, adapted].map(
    (cases) => cases.find(({ name }) => name === "text")!,
  ) as [Case, Case];
  const chat = (...args: string[]) =>
    internvl<Answer>("chat", "--max-tokens", String(new_ids.length), "--max-context", "512", "--weights", "f32", ...args, c.question!);
  const want = { tokenIds: new_ids, promptTokenIds: c.input_ids };
  expect(await chat("--model", "tiny-qwen", "--lora", lora)).toMatchObject(want);
  await internvl("convert", "--model", "tiny-qwen", "--lora", lora, "--to", "f32", "--layout", "hf", "--out", "merged");
  expect(await internvl<Looked>("inspect", "merged", "--verify")).toMatchObject({ runs: true, config: { layout: "huggingface" } });
  expect(await chat("--model", "merged")).toMatchObject(want); // transformers' files carry the model's own system message
});
