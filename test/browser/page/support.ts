import { cdp } from "vitest/browser";
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

interface Profiler {
  send(method: "Profiler.takePreciseCoverage"): Promise<{
    result: { url: string; functions: { functionName: string; ranges: { count: number }[] }[] }[];
  }>;
  send(method: string, params?: object): Promise<void>;
}

/**
 * The files below src/ of which a function was called on the page's own thread while some work was under way, by path: what is computed in
 * workers is not among them. Unlike the time that the page's tasks take, this is the same on every machine.
 */
export async function calledInPage(work: () => Promise<unknown>): Promise<string[]> {
  const profiler = cdp() as unknown as Profiler;
  await profiler.send("Profiler.enable");
  await profiler.send("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  try {
    await work();
    const { result } = await profiler.send("Profiler.takePreciseCoverage");
    const called = result.filter(({ functions }) =>
      functions.some(({ functionName, ranges }) => functionName !== "" && ranges[0]!.count > 0),
    );
    return called.flatMap(({ url }) => /\/src\/(.*\.ts)/.exec(url)?.[1] ?? []).sort();
  } finally {
    await profiler.send("Profiler.stopPreciseCoverage");
    await profiler.send("Profiler.disable");
  }
}
