import { noConfig } from "../hub/missing.ts";
import { openWeights } from "../hub/open.ts";
import { readSmall, type StagedSource, type WeightSource } from "../hub/source.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { checkTensors, storedShapes } from "./check-tensors.ts";
import { type ModelConfig, parseConfig } from "./config.ts";

/** What config.json of a source says, and its bytes. @throws EngineError bad-weights where there is none, or of a model that does not load */
export async function readConfig(source: WeightSource): Promise<{ config: ModelConfig; configBytes: Uint8Array }> {
  const configBytes = await readSmall(source, "config.json");
  if (!configBytes) throw await noConfig(source);
  return { config: parseConfig(configBytes), configBytes };
}

interface OpenOptions<T> {
  signal?: AbortSignal | undefined;
  /** Which tensors are held against the configuration: those below the model's own names, every one in the files, or none. */
  check?: "ours" | "all" | "none";
  /** Work between the configuration and the headers: what it throws is thrown before anything large has been fetched. */
  between?: (config: ModelConfig) => Promise<T>;
}

/** A checkpoint whose configuration and headers have been read. The caller closes `files`. */
export interface OpenedCheckpoint<T> {
  config: ModelConfig;
  configBytes: Uint8Array;
  files: Checkpoint;
  /** What `between` gave. */
  between: T;
}

/**
 * Reads a checkpoint's configuration and headers and holds one against the other; what lies on a server is downloaded only then.
 *
 * @throws EngineError bad-weights, network, aborted, and what `between` throws
 */
export async function openCheckpoint<T = undefined>(source: StagedSource, options: OpenOptions<T> = {}): Promise<OpenedCheckpoint<T>> {
  const { signal, check = "ours" } = options;
  const { config, configBytes } = await readConfig(source);
  const between = (await options.between?.(config)) as T;
  const files = await openWeights(source, signal, ({ tensors }) => {
    if (check !== "none") checkTensors(config, storedShapes(tensors), { all: check === "all" });
  });
  return { config, configBytes, files, between };
}
