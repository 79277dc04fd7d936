import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../src/model/config.ts";
import { checkpointTensors } from "../src/model/tensors.ts";
import { type ReadRepository, syntheticFile } from "./shared/checkpoints.ts";

export { memoryFiles, readF32, relativeL2, syntheticF32, syntheticFile } from "./shared/checkpoints.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
export const pathOf = (path: string): string => `${root}${path}`;
export const fixture = (path: string): Buffer => readFileSync(pathOf(`test/fixtures/${path}`));
export const json = <T>(path: string): T => JSON.parse(fixture(path).toString("utf8")) as T;

/** A file of the repository, for what is shared with the tests in a page. */
export const readRepository: ReadRepository = (path) => readFile(pathOf(path));

/** A tiny checkpoint of test/fixtures, its weights made by the synthetic rule. */
export function tinyCheckpoint(name: string, seed: number): Record<string, Uint8Array> {
  const config = fixture(`tiny/${name}/config.json`);
  return {
    "config.json": config,
    "model.safetensors": syntheticFile(checkpointTensors(parseConfig(config)), seed),
    ...Object.fromEntries(
      ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map((file) => [file, fixture(`tiny/tokenizer/${file}`)]),
    ),
  };
}
