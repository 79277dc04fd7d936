import { InternVLWorker } from "../../src/api/worker.ts";
import { EngineError } from "../../src/errors.ts";
import type { Progress, WeightFormat, WeightSource } from "../../src/index.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { memorySource } from "../../src/safetensors/index.ts";
import { readSmall } from "../../src/weights/source.ts";

/** A loaded model with what the page shows of it. */
export interface Loaded {
  vlm: InternVLWorker;
  config: ModelConfig;
  /** How the checkpoint stores its weights. */
  stored: string;
}

/** The model that lies beside the page. */
export function nanoSource(): WeightSource {
  return {
    async open(name) {
      const response = await fetch(new URL(`nano/${name}`, document.baseURI));
      if (response.status === 404 || response.headers.get("content-type")?.startsWith("text/html")) return undefined; // a server's index page
      if (!response.ok)
        throw new EngineError("network", `nano/${name} answers ${response.status} ${response.statusText}`, { hint: "reload the page" });
      return memorySource(name, new Uint8Array(await response.arrayBuffer()));
    },
  };
}

/** The files of a folder that somebody chose; only what is asked for is read. */
export function folderSource(files: Iterable<File>): WeightSource {
  const byName = new Map(Array.from(files, (file) => [file.name, file] as const));
  return {
    async open(name) {
      const file = byName.get(name);
      if (!file) return undefined;
      const read = async (offset: number, length: number) => new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
      return { name, size: file.size, read };
    },
  };
}

/** Opens a checkpoint in a worker. */
export async function loadModel(
  source: WeightSource,
  options: { weights: WeightFormat; signal: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<Loaded> {
  if (!("gpu" in navigator))
    throw new EngineError(
      "no-webgpu",
      "this browser has no WebGPU",
      isSecureContext ? {} : { hint: "open the page over https or localhost" },
    );
  const bytes = await readSmall(source, "config.json");
  if (!bytes)
    throw new EngineError("bad-weights", "there is no config.json among these files", { hint: "choose the folder of a whole checkpoint" });
  const config = parseConfig(bytes);
  const { torch_dtype } = JSON.parse(new TextDecoder().decode(bytes)) as { torch_dtype?: string };
  const vlm = await InternVLWorker.load(source, options);
  return { vlm, config, stored: torch_dtype ?? "as the files say" };
}
