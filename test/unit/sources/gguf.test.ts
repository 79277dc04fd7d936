import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { convertWeights, inspect } from "../../../src/convert.ts";
import { EngineError, InternVL } from "../../../src/index.ts";
import { memoryFiles, memoryFolder, tinyCheckpoint } from "../../support.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));
const gguf = new Uint8Array([...new TextEncoder().encode("GGUF"), 3, 0, 0, 0, ...new Uint8Array(64)]);
writeFileSync(join(folder, "model-q4.gguf"), gguf);
mkdirSync(join(folder, "empty"));

/** Never asked: what is told by its name alone needs no server. */
const never = () => Promise.reject(new Error("the network was asked"));

describe("GGUF is called by its name, with what to take instead", () => {
  it.each<[string, Parameters<typeof InternVL.load>[0]]>([
    ["a file's path", join(folder, "model-q4.gguf")],
    ["a folder that holds one", folder],
    ["chosen files", [new File([gguf], "mmproj.GGUF")]],
    ["an address", "https://host/folder/model-Q4_K_M.gguf"],
    ["a repository", "someone/InternVL3-8B-GGUF"],
    ["a file that was renamed", memoryFiles({ ...tinyCheckpoint("tiny-qwen", 0), "model.safetensors": gguf })],
  ])("%s", async (_, source) => {
    const works = [
      () => InternVL.load(source, { fetch: never }),
      () => inspect(source, { fetch: never }),
      () => convertWeights(source, { to: "bf16", out: memoryFolder(), fetch: never }),
    ];
    for (const work of works) {
      const error: unknown = await work().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(EngineError);
      expect(error).toMatchObject({
        message: expect.stringMatching(/GGUF file/),
        hint: expect.stringContaining("take the original checkpoint"),
      });
    }
  });
});

describe("an adapter's folder that is none is reported as an adapter's", () => {
  const base = memoryFiles({});
  it.each<[string, RegExp]>([
    [join(folder, "nowhere"), /there is no folder/],
    [join(folder, "model-q4.gguf"), /GGUF/],
    [join(folder, "empty"), /no adapter_config\.json/],
  ])("%s", async (adapter, message) => {
    const error = (await InternVL.load(base, { adapters: [adapter] }).catch((reason: unknown) => reason)) as EngineError;
    expect(error.message).toMatch(message);
    if (!/GGUF/.test(message.source)) expect(error.hint).toContain("adapter_config.json");
  });
});
