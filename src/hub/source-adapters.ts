import { badWeights } from "../errors.ts";
import { openSource, type SourceLike } from "./source.ts";
import { PEFT } from "./source-named.ts";
import type { RemoteOptions } from "./source-remote.ts";
import { ADAPTER_FILES, hasFile, MODEL_FILES, type StagedSource } from "./source-types.ts";

/** The files of LoRA adapters. A revision is the model's, not theirs. @throws EngineError as `openAdapter` */
export async function openAdapters(sources: readonly SourceLike[], options: RemoteOptions = {}): Promise<StagedSource[]> {
  const opened: StagedSource[] = [];
  for (const source of sources) opened.push(await openAdapter(source, { ...options, revision: undefined, onProgress: undefined }));
  return opened;
}

/** The files of a LoRA adapter, its tensors under the name that a model's have: whoever opens those opens these. @throws EngineError as `openSource` */
async function openAdapter(source: SourceLike, options: RemoteOptions = {}): Promise<StagedSource> {
  const opened = await openSource(source, { ...options, names: ADAPTER_FILES });
  const { config, single } = ADAPTER_FILES;
  const has = (name: string) => hasFile(opened, name);
  if (!(await has(config))) {
    const what = (await has(MODEL_FILES.config)) ? `${MODEL_FILES.config}: a whole model` : "no adapter_config.json";
    throw badWeights(`the adapter's folder holds ${what}`, `give ${PEFT}`);
  }
  if (!(await has(single))) {
    const pickled = await has("adapter_model.bin");
    throw badWeights(
      `the adapter's folder holds ${pickled ? "adapter_model.bin alone (PyTorch's pickle)" : `no ${single}`}`,
      pickled ? "save it anew with peft: model.save_pretrained(DIR, safe_serialization=True)" : "fetch it, beside adapter_config.json",
    );
  }
  const { download } = opened;
  return {
    open: async (name) => (name === MODEL_FILES.index ? undefined : opened.open(name === MODEL_FILES.single ? single : name)),
    ...(download && { download: () => download.call(opened) }),
  };
}
