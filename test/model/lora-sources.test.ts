import { afterAll, expect, inject, it } from "vitest";
import { InternVL, type LoadOptions } from "../../src/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { fileServer, hubServer, temporaryFolder } from "../hub-server.ts";
import { fixture, json, memoryFiles, tinyCheckpoint } from "../support.ts";

interface Case {
  name: string;
  input_ids: number[];
  new_ids: number[];
}

const cache = temporaryFolder();
afterAll(() => cache.remove());

const base = tinyCheckpoint("tiny-qwen", 0);
const find = (cases: Case[]) => cases.find(({ name }) => name === "text")!;
const { input_ids } = find(json<{ cases: Case[] }>("tiny/tiny-qwen/expected.json").cases);
const { new_ids } = find(json<{ adapters: Record<string, { cases: Case[] }> }>("tiny/tiny-lora/expected.json").adapters.plain!.cases);
const plain = Object.fromEntries(
  ["adapter_config.json", "adapter_model.safetensors"].map((name) => [name, new Uint8Array(fixture(`tiny/tiny-lora/plain/${name}`))]),
);

async function answersWith(adapter: string, options: LoadOptions = {}): Promise<void> {
  const vlm = await InternVL.load(memoryFiles(base), { maxContext: 256, kv: "f32", weights: "f32", adapters: [adapter], ...options });
  try {
    expect((await generateTrace(vlm, { inputIds: input_ids, steps: new_ids.length })).ids).toEqual(new_ids);
  } finally {
    await vlm.dispose();
  }
}

it("an adapter comes from an address, and is kept", async () => {
  const server = await fileServer(plain);
  try {
    await answersWith(`${server.origin}/folder`, { cacheDir: cache.path });
    const sent = server.gets("adapter_model.safetensors").length;
    expect(sent).toBeGreaterThan(0);
    if (!inject("full")) return; // a second load; the hub's test looks at it too
    await answersWith(`${server.origin}/folder`, { cacheDir: cache.path });
    expect(server.gets("adapter_model.safetensors").length).toBe(sent);
  } finally {
    await server.close();
  }
});

it("an adapter comes from the hub by its id; the revision is the model's, not its own", async (context) => {
  context.skip(!inject("full"), "as the address's, by another road: npm run test:full");
  const hub = await hubServer("org/my-lora", plain);
  try {
    await answersWith("org/my-lora", { cacheDir: cache.path, endpoint: hub.origin });
    const error: unknown = await answersWith("org/other-lora", { cacheDir: cache.path, endpoint: hub.origin }).catch((reason) => reason);
    expect(error).toMatchObject({ message: expect.stringContaining("org/other-lora") });
  } finally {
    await hub.close();
  }
});
