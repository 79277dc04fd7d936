import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../src/model/config.ts";
import { checkpointTensors } from "../src/model/tensors.ts";
import { memorySource } from "../src/safetensors/index.ts";
import { type ReadRepository, syntheticFile } from "./shared/checkpoints.ts";

export { memoryFiles, readF32, relativeL2, syntheticF32, syntheticFile } from "./shared/checkpoints.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
export const pathOf = (path: string): string => `${root}${path}`;
export const fixture = (path: string): Buffer => readFileSync(pathOf(`test/fixtures/${path}`));
export const json = <T>(path: string): T => JSON.parse(fixture(path).toString("utf8")) as T;

/** A file of the repository, for what is shared with the tests in a page. */
export const readRepository: ReadRepository = (path) => readFile(pathOf(path));

/** The files of a folder, by name; not those of its folders. */
export const filesIn = (folder: string): Record<string, Uint8Array> =>
  Object.fromEntries(
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  );

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

/** A folder in memory. `failing`: the name of the file that takes no bytes. */
export function memoryFolder(failing?: string) {
  const files = new Map<string, Uint8Array[]>();
  const open = new Set<string>();
  return {
    files,
    stillOpen: open,
    async create(name: string) {
      files.set(name, []);
      open.add(name);
      return {
        async write(bytes: Uint8Array) {
          if (name === failing) throw new RangeError("the disk is full of sand");
          files.get(name)!.push(bytes.slice());
        },
        close: async () => void open.delete(name),
      };
    },
    open: async (name: string) => {
      const chunks = files.get(name);
      return chunks && memorySource(name, Buffer.concat(chunks));
    },
    remove: async (name: string) => void files.delete(name),
  };
}
