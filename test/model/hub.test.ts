import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { InternVL, type Progress } from "../../src/index.ts";
import { fetchSource } from "../fetched.ts";
import { hubServer, temporaryFolder } from "../hub-server.ts";
import { pathOf } from "../support.ts";

const nano = pathOf("weights/nano");
const files = Object.fromEntries(
  readdirSync(nano, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => [name, new Uint8Array(readFileSync(join(nano, name)))]),
);
const home = temporaryFolder();
let server: Awaited<ReturnType<typeof hubServer>>;

beforeAll(async () => {
  server = await hubServer("org/nano", files);
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
  expect(server.cdn.log).toHaveLength(1);
  const phases = [...new Set(seen.map(({ phase }) => phase))];
  expect(phases).toEqual(["resolve", "download", "verify", "upload", "compile", "ready"]);
  for (const phase of phases) {
    const loaded = seen.filter((progress) => progress.phase === phase).map((progress) => progress.loaded);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
  }
  await fetchSource("org/nano");
  expect(server.cdn.log).toHaveLength(1);
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
