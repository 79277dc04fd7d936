import { platform } from "#platform";
import { EngineError, late, throwIfAborted } from "../errors.ts";
import { engineOf } from "../generate/engine.ts";
import { Scheduler } from "../generate/scheduler.ts";
import type { DeviceOptions, Gpu } from "../gpu/device.ts";
import { openGpus } from "../gpu/devices.ts";
import type { Precision } from "../gpu/program.ts";
import { type HubOptions, openSource, readSmall, type SourceLike, type SourceProgress, type StagedSource, seldom } from "../hub/source.ts";
import type { ModelConfig } from "../model/config.ts";
import { checkContext } from "../model/internvl.ts";
import { usualContext } from "../model/memory.ts";
import { openCheckpoint } from "../model/open-checkpoint.ts";
import { kvBytes as bytesOfSlot, type KvDtype } from "../ops/kv-cache.ts";
import { loadTokenizer, structuralIds } from "../text/tokenizer.ts";
import type { WeightFormat } from "../weights/formats.ts";
import { layersOver, loadModel } from "./model-load.ts";
import type { Parts } from "./parts.ts";
import { tileCache } from "./tile-cache.ts";

/** How far a load is. The phases come in this order, those of a download only where there is one; each phase's numbers only grow. */
export interface Progress {
  phase: SourceProgress["phase"] | "upload" | "compile" | "ready";
  /** Bytes in `download`, `verify` and `upload`, steps otherwise. */
  loaded: number;
  total: number;
  file?: string;
  /** What `weights: "auto"` decided, where the weights do not fit as they are stored. */
  note?: string;
}

/** How a model is loaded, onto which GPU, and what it may take there. */
export interface LoadOptions extends HubOptions {
  /** A device of yours, or how to choose an adapter. */
  device?: GPUDevice | DeviceOptions | undefined;
  /**
   * Several, in place of `device`: the decoder's layers are split over them. The first has the vision tower, the embedding, the head and fewer
   * layers; what goes from one to the next goes by the host's memory.
   */
  devices?: readonly (GPUDevice | DeviceOptions)[] | undefined;
  /** The memory of each of `devices`, in any unit; WebGPU does not tell it. Equal by default. */
  split?: readonly number[] | undefined;
  /** How matrices are held on the GPU: `auto` as stored, or in q8 or q4 where that is what fits. */
  weights?: WeightFormat | undefined;
  /**
   * LoRA adapters (folders that peft saved), from where a model can come from: merged into the weights in f32 while they are read. Held in
   * `f32` they stay so; in any other format the sums are rounded, or quantised, once. Several add up.
   */
  adapters?: readonly SourceLike[] | undefined;
  /**
   * What products may do to their operands. `exact` rounds nothing but f32; `auto` (the default) may use GPUs' matrix units with operands in
   * f16, where the model bounds them, or in two halves of it; `fast` besides 8-bit activations where weights are q8 or q4. On adapters
   * without matrix units `auto` is as exact as `exact`.
   */
  precision?: Precision | undefined;
  /** Tokens of prompt and answer together; the KV cache is sized for it. Default 8192 or what the model has. */
  maxContext?: number | undefined;
  /**
   * How keys and values are held between steps: `auto` is f16, which halves their bytes and rounds each to 11 bits (attention's sums stay
   * f32); `f32` keeps them as they are computed.
   */
  kv?: "auto" | KvDtype | undefined;
  /**
   * Answers that are decoded together, 1 to 8; fewer where `kvBytes`, or the memory, has no room for them. A slot takes memory once it is needed. Where you
   * say how many, slots keep it, and with it what they hold of their last conversation; by default (8) all but one give it back when
   * nothing is under way.
   */
  slots?: number | undefined;
  /** Bytes for the KV caches of all slots, 2 GiB by default or what four slots need; each has room for `maxContext` tokens. */
  kvBytes?: number | undefined;
  /**
   * `true`: the model runs in a worker, so that the page stays free while it loads and answers; the library brings the script along. A
   * `Worker` of yours runs `internvl-webgpu/worker-thread`, and ends with the model. Neither takes a `GPUDevice` or a `fetch`.
   */
  worker?: boolean | Worker | undefined;
  signal?: AbortSignal | undefined;
  /** Called as the load gets on; what it throws ends the load, as it is. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** What small files, options and devices tell, before gigabytes are fetched that nothing could run. */
async function beforeDownload(
  source: StagedSource,
  config: ModelConfig,
  options: LoadOptions & { devices: NonNullable<LoadOptions["devices"]> },
  kv: KvDtype,
) {
  const { language } = config;
  const tokenizer = await loadTokenizer((name) => readSmall(source, name), language.vocabSize, config.layout);
  const maxContext = options.maxContext ?? usualContext(language);
  checkContext(language, maxContext);
  const least = bytesOfSlot(language, maxContext, kv);
  if (options.kvBytes !== undefined && options.kvBytes < least) {
    throw new EngineError("bad-input", `kvBytes is ${options.kvBytes}, one slot of ${maxContext} tokens needs ${least}`, {
      hint: "give at least that, or a smaller maxContext",
    });
  }
  const each = options.devices.map(() => 1);
  await layersOver(language.layers, each); // there are as many layers as that
  for (const each of options.devices) if (source.download && !("createBuffer" in each)) await platform.requestAdapter(each);
  return { tokenizer, maxContext, ...structuralIds(tokenizer, config) };
}

/**
 * Opens a checkpoint and puts it on the GPU: everything that `InternVL.load` does but the checking of its options.
 *
 * @throws EngineError as `InternVL.load`
 */
export async function loadParts(from: SourceLike, options: LoadOptions): Promise<Parts> {
  const { weights: format = "auto", kv = "auto", signal, devices = [options.device ?? {}] } = options;
  const { split, slots, kvBytes, precision = "auto" } = options;
  const onProgress = options.onProgress && seldom(options.onProgress);
  throwIfAborted(signal);
  const source = await openSource(from, { ...options, whole: false, onProgress });
  const adapters = options.adapters?.length
    ? await (await late("what opens adapters", import("../hub/source-adapters.ts"))).openAdapters(options.adapters, options)
    : [];
  const dtype = kv === "auto" ? "f16" : kv;
  const { config, files, tensors, between } = await openCheckpoint(source, {
    ...{ signal, adapters },
    between: (config) => beforeDownload(source, config, { ...options, devices }, dtype),
  });
  const { tokenizer, maxContext, imageContextId, stopIds } = between;
  try {
    const gpus = await openGpus(devices);
    const [gpu, ...beside] = gpus as [Gpu, ...Gpu[]];
    try {
      let total = tensors(gpu, format).bytes;
      let furthest = 0; // a second attempt of `auto` begins anew, progress does not go back
      const upload = (note?: string) => onProgress?.({ phase: "upload", loaded: furthest, total, ...(note ? { note } : {}) });
      upload();
      const { model, weights } = await loadModel(gpu, (weights, gpu) => tensors(gpu, weights), config, {
        ...{ format, beside, split, maxContext, kv: dtype, precision, slots, kvBytes, signal },
        onBytes(loaded, all) {
          [furthest, total] = [Math.max(furthest, loaded), Math.max(total, all)];
          upload();
        },
        onNote: upload,
      });
      const compiled = (loaded: number, total: number) => onProgress?.({ phase: "compile", loaded, total });
      compiled(0, 1);
      // One step is the vision tower's own pipelines, and each that the adapter would otherwise compile in the first answer another.
      await model.prepare(config.tileSize, signal, (done, total) => compiled(1 + done, 1 + total));
      throwIfAborted(signal);
      const scheduler = new Scheduler(engineOf(model), { keep: slots !== undefined });
      return { gpu, gpus, model, tokenizer, config, weights, imageContextId, stopIds, pictures: tileCache(), scheduler };
    } catch (error) {
      for (const each of gpus) each.close();
      throw error;
    }
  } finally {
    await files.close();
  }
}
