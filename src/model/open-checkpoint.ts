import { late } from "../errors.ts";
import { openWeights } from "../hub/open.ts";
import { readSmall, type StagedSource, type WeightSource } from "../hub/source.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import type { Adapter } from "./adapters.ts";
import { type ModelConfig, parseConfig } from "./config.ts";
import { fits } from "./fits.ts";
import { asStored, type Resolve, type Resolved } from "./stored.ts";

/** What config.json of a source says, and its bytes. @throws EngineError bad-weights where there is none, or of a model that does not load */
export async function readConfig(source: WeightSource): Promise<{ config: ModelConfig; configBytes: Uint8Array }> {
  const configBytes = await readSmall(source, "config.json");
  if (!configBytes) throw await (await late("what tells why there is no config.json", import("../hub/missing.ts"))).noConfig(source);
  const config = parseConfig(configBytes);
  if (config.layout === "original") return { config, configBytes };
  const { readHuggingFace } = await late("what reads transformers' layout", import("./huggingface.ts"));
  return { config: await readHuggingFace(config, (name) => readSmall(source, name)), configBytes };
}

/** What makes a model's tensors of those in its files: most are stored as they are, and what unpacks and merges the others comes with them. */
async function resolverOf({ packed, lora }: ModelConfig, adapters: number): Promise<Resolve> {
  if (!packed && !lora.language && !lora.vision && adapters === 0) return asStored;
  return (await late("what unpacks and merges weights", import("./resolve.ts"))).resolve;
}

/** The same for whoever looks at files as they are: what contradicts itself stays as it is stored. */
const unchecked =
  (resolve: Resolve): Resolve =>
  (config, files) => {
    try {
      return resolve(config, files);
    } catch {
      return asStored(config, files);
    }
  };

interface OpenOptions<T> {
  signal?: AbortSignal | undefined;
  /** LoRA adapters, which are merged into the weights while they are read. */
  adapters?: readonly StagedSource[] | undefined;
  /** Which tensors are held against the configuration: those below the model's own names, every one in the files, or none. */
  check?: "ours" | "all" | "none";
  /** Work between the configuration and the headers: what it throws is thrown before anything large has been fetched. */
  between?: (config: ModelConfig) => Promise<T>;
}

/** A checkpoint whose configuration and headers have been read. The caller closes `files`. */
export interface OpenedCheckpoint<T> extends Resolved {
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
  const adapters: Adapter[] = [];
  const close = async (): Promise<void> => void (await Promise.allSettled(adapters.map(({ files }) => files.close())));
  try {
    for (const adapter of options.adapters ?? []) {
      const { parseLoraConfig } = await late("what reads adapters", import("./lora-config.ts"));
      const config = parseLoraConfig((await readSmall(adapter, "adapter_config.json"))!);
      adapters.push({ config, files: await openWeights(adapter, signal) });
    }
    const resolve = await resolverOf(config, adapters.length);
    const between = (await options.between?.(config)) as T;
    const files = await openWeights(source, signal, async (files) => {
      if (check === "none") return;
      const { shapes } = resolve(config, files, adapters);
      if (fits(config, shapes)) return;
      const { checkTensors } = await late("what tells how tensors differ", import("./check-tensors.ts"));
      checkTensors(config, shapes, { all: check === "all" });
    });
    const all = {
      ...files,
      files: [...files.files, ...adapters.flatMap(({ files }) => files.files)],
      close: () => files.close().finally(close),
    };
    return { config, configBytes, files: all, between, ...(check === "none" ? unchecked(resolve) : resolve)(config, files, adapters) };
  } catch (error) {
    await close();
    throw error;
  }
}
