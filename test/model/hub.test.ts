import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type EngineError, InternVL, type Progress } from "../../src/index.ts";
import { fetchSource } from "../fetched.ts";
import { fileServer, filesBelow, hubServer, sendFile, temporaryFolder } from "../hub-server.ts";
import { tinyFiles } from "../shared/checkpoints.ts";
import { hfFiles, sentencePieceFiles } from "../shared/layouts.ts";
import { filesIn, pathOf, readRepository } from "../support.ts";

const nano = pathOf("weights/nano");
const files = filesIn(nano);
const home = temporaryFolder();
const server = await hubServer("org/nano", files);

beforeAll(() => {
  vi.stubEnv("HF_ENDPOINT", server.origin);
  vi.stubEnv("HF_HOME", home.path);
  vi.stubEnv("HF_HUB_CACHE", "");
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server.close();
  home.remove();
});

it('InternVL.load("org/nano") downloads, loads and answers; a second time nothing is downloaded', async () => {
  const seen: Progress[] = [];
  const vlm = await InternVL.load("org/nano", { onProgress: (progress) => seen.push(progress) });
  try {
    const { text } = await vlm.chat("What shape is it?", { images: [join(nano, "images/card-1.png")] });
    expect(text).toBe("A triangle.");
  } finally {
    await vlm.dispose();
  }
  // First the header by ranges, then the whole file, once.
  expect(server.cdn.log.map(({ headers }) => headers.range)).toEqual(["bytes=0-8", expect.stringMatching(/^bytes=0-\d+$/), undefined]);
  const phases = [...new Set(seen.map(({ phase }) => phase))];
  expect(phases).toEqual(["resolve", "download", "verify", "upload", "compile", "ready"]);
  for (const phase of phases) {
    const loaded = seen.filter((progress) => progress.phase === phase).map((progress) => progress.loaded);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
  }
  await fetchSource("org/nano");
  expect(server.cdn.log).toHaveLength(3);
});

// What is asked for in vain costs a page's visitor time, and its console a red line each.
const tokenizers = ["added_tokens.json", "special_tokens_map.json"];
it.each([
  ["upstream's layout", async () => files, []],
  ["upstream's slow tokenizer", () => tinyFiles("tiny-qwen3", 1, readRepository), ["tokenizer.json"]],
  ["upstream's SentencePiece", () => sentencePieceFiles(readRepository), ["tokenizer.json"]],
  ["transformers' layout", () => hfFiles("tiny-hf-llama", readRepository), ["added_tokens.json"]],
  ["transformers' layout of version 5", () => hfFiles("tiny-hf-qwen3", readRepository), tokenizers],
])("of %s on a server only what it reads is asked for, once each", async (_, filesOf, missing) => {
  const there = await filesOf();
  const other = await fileServer(there);
  const cache = temporaryFolder();
  const asked = () => other.log.splice(0).map(({ method, path }) => `${method} ${path.slice("/folder/".length)}`);
  try {
    for (const again of [false, true]) {
      const load = InternVL.load(`${other.origin}/folder`, { cacheDir: cache.path, maxContext: 512 });
      await (await load).dispose();
      const requests = asked();
      const heads = requests.filter((each) => each.startsWith("HEAD ")).map((each) => each.slice("HEAD ".length));
      expect(heads).toHaveLength(new Set(heads).size);
      expect(heads.filter((name) => !(name in there)).sort()).toEqual(missing);
      if (again) expect(requests).toHaveLength(heads.length); // the copy does
    }
    await fetchSource(`${other.origin}/folder`, { cacheDir: cache.path }); // all of it, as `internvl pull` does
    expect(asked()).toContain("HEAD generation_config.json");
  } finally {
    await other.close();
    cache.remove();
  }
});

const json = (name: string) => JSON.parse(new TextDecoder().decode(files[name])) as Record<string, unknown>;
const bytesOf = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

/** Loads a model from a server of its own that counts what it sends of the weights. */
async function refused(changed: Record<string, Uint8Array>, ranges = true) {
  let sent = 0;
  const weights = changed["model.safetensors"] ?? files["model.safetensors"]!;
  const cache = temporaryFolder();
  const other = await fileServer({ ...files, ...changed }, (request, response) => {
    if (!request.path.endsWith("/model.safetensors")) return false;
    const [first, last] = request.headers.range?.match(/\d+/g)?.map(Number) ?? [0, weights.length - 1];
    if (request.method === "GET") sent += last! - first! + 1;
    sendFile(ranges ? request : { ...request, headers: {} }, response, weights);
    return true;
  });
  try {
    const error = await InternVL.load(`${other.origin}/folder`, { cacheDir: cache.path }).then(
      (vlm) => vlm.dispose(),
      (error: EngineError) => error,
    );
    const kept = Object.keys(filesBelow(cache.path)).filter((path) => path.includes("model.safetensors"));
    return { error, sent, kept, asked: other.log.filter(({ path }) => path.endsWith("/model.safetensors")).length };
  } finally {
    await other.close();
    cache.remove();
  }
}

it.each<[string, () => Record<string, Uint8Array>, string]>([
  ["an architecture", () => ({ "config.json": bytesOf({ ...json("config.json"), architectures: ["Other"] }) }), "bad-weights"],
  ["a template", () => ({ "config.json": bytesOf({ ...json("config.json"), template: "other" }) }), "bad-weights"],
  ["a tokenizer", () => ({ "tokenizer.json": bytesOf("[]"), "vocab.json": bytesOf("[]") }), "bad-weights"],
])("%s that is refused costs no byte of the weights, nor a question about them", async (_, changed, code) => {
  expect(await refused(changed())).toMatchObject({ error: { code }, sent: 0, kept: [], asked: 0 });
});

it("a tensor that is missing costs the header alone", async () => {
  const config = json("config.json");
  const llm = config.llm_config as { num_hidden_layers: number };
  const more = bytesOf({ ...config, llm_config: { ...llm, num_hidden_layers: llm.num_hidden_layers + 1 } });
  const { error, sent, kept } = await refused({ "config.json": more });
  expect(error).toMatchObject({ code: "bad-weights", message: expect.stringContaining("is missing") });
  expect(sent).toBeGreaterThan(0);
  expect(sent).toBeLessThan(100_000);
  expect(kept).toEqual([]);
});

it("a server without ranges is loaded from all the same", async () => {
  const { error, kept } = await refused({}, false);
  expect(error).toBeUndefined();
  expect(kept.length).toBeGreaterThan(0);
});

it("a shard that climbs out of the folder is refused", async () => {
  const index = new TextEncoder().encode('{"weight_map":{"language_model.lm_head.weight":"../../etc/passwd"}}');
  const { "model.safetensors": _, ...sharded } = files;
  const bad = await hubServer("org/bad", { ...sharded, "model.safetensors.index.json": index });
  try {
    await expect(InternVL.load("org/bad", { endpoint: bad.origin })).rejects.toMatchObject({
      code: "bad-weights",
      message: expect.stringMatching(/"language_model\.lm_head\.weight".*is not a plain file name/),
    });
  } finally {
    await bad.close();
  }
});
