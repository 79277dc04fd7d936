import { badWeights, EngineError } from "../errors.ts";
import { quoted } from "../options.ts";
import { isGguf } from "./foreign-errors.ts";
import { hasFile, type WeightSource } from "./source-types.ts";

/** Most shards that are looked for; the largest published checkpoint of the family has 33. */
const MOST_SHARDS = 64;

const PARALLEL = 8;

const five = (n: number): string => String(n).padStart(5, "0");

/** Whether something lies under a name. What cannot be opened is there all the same: it is too large, or a folder. */
async function isThere(source: WeightSource, name: string): Promise<boolean> {
  try {
    return await hasFile(source, name);
  } catch (error) {
    if (error instanceof EngineError && error.code === "bad-weights") return true;
    throw error;
  }
}

/** The first of some files that is there. They are asked for side by side: a server takes its time for each. */
async function firstOf(source: WeightSource, names: readonly string[]): Promise<string | undefined> {
  for (let at = 0; at < names.length; at += PARALLEL) {
    const some = names.slice(at, at + PARALLEL);
    const there = await Promise.all(some.map((name) => isThere(source, name)));
    if (there.includes(true)) return some[there.indexOf(true)];
  }
  return undefined;
}

/** A folder in which only a LoRA adapter lies, as peft saves it. */
async function adapterAlone(source: WeightSource): Promise<EngineError | undefined> {
  const name = await firstOf(source, ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"]);
  if (name === undefined) return undefined;
  return badWeights(
    `the folder holds ${name}: a LoRA adapter alone, without the model that it belongs to`,
    "give its base model, and this folder as an adapter: load(BASE, { adapters: [FOLDER] }), --model BASE --lora FOLDER",
  );
}

/** The first file of a kind, where the source tells its files. */
const fileOf = async (source: WeightSource, kind: RegExp): Promise<string | undefined> =>
  (await source.list?.().catch(() => []))?.find((name) => kind.test(name));

/** The error for a folder without config.json: what lies there instead. */
export async function noConfig(source: WeightSource): Promise<EngineError> {
  const gguf = await fileOf(source, /\.gguf$/i);
  if (gguf !== undefined) return isGguf(gguf);
  return (
    (await adapterAlone(source)) ?? badWeights("there is no config.json in the model's folder", "give the folder of a whole checkpoint")
  );
}

/** Why a folder with a configuration has no tensors that are found; undefined where nothing else is there. */
export async function noTensors(source: WeightSource): Promise<EngineError | undefined> {
  const adapter = await adapterAlone(source);
  if (adapter) return adapter;
  const firsts = Array.from({ length: MOST_SHARDS }, (_, i) => `model-${five(1)}-of-${five(i + 1)}.safetensors`);
  const shard = await firstOf(source, firsts);
  if (shard !== undefined) {
    return badWeights(
      `there are shards (${shard}), but no model.safetensors.index.json, which says what lies in which`,
      "fetch it from the model's page, beside the shards",
    );
  }
  const pickled = await firstOf(source, ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"]);
  if (pickled !== undefined) {
    return badWeights(
      `the weights are there as ${pickled} alone (PyTorch's pickle), only safetensors files are read`,
      "let transformers write them anew: model.save_pretrained(DIR, safe_serialization=True)",
    );
  }
  const [renamed, gguf] = [await fileOf(source, /\.safetensors$/i), await fileOf(source, /\.gguf$/i)];
  if (renamed === undefined) return gguf === undefined ? undefined : isGguf(gguf);
  return badWeights(
    `there is ${quoted(renamed)}, but no model.safetensors and no model.safetensors.index.json, where tensors are looked for`,
    "if it is the whole model, call it model.safetensors",
  );
}
