import type { WeightSource } from "../../../src/index.ts";
import type { ReadRepository } from "../../shared/checkpoints.ts";
import { memoryFiles } from "../../shared/checkpoints.ts";

/** A file of the repository, from Vitest's server. */
export const readRepository: ReadRepository = async (path) => {
  const response = await fetch(`/${path}`);
  // Vite answers an unknown path with its index page.
  if (!response.ok || response.headers.get("content-type")?.startsWith("text/html")) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

const NANO_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

export async function nanoFiles(): Promise<WeightSource> {
  const files = NANO_FILES.map(async (name) => [name, await readRepository(`weights/nano/${name}`)] as const);
  return memoryFiles(Object.fromEntries(await Promise.all(files)));
}

/** A picture of weights/nano as a File, as a page gets it from a drop. */
export async function pictureFile(path: string): Promise<File> {
  const type = path.endsWith(".png") ? "image/png" : "image/jpeg";
  return new File([(await readRepository(`weights/nano/${path}`)) as Uint8Array<ArrayBuffer>], path.split("/").at(-1)!, { type });
}
