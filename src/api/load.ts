import { platform } from "#platform";
import { EngineError, throwIfAborted } from "../errors.ts";
import { Stepper } from "../generate/stepper.ts";
import { type DeviceOptions, openGpu } from "../gpu/device.ts";
import { type ModelConfig, parseConfig } from "../model/config.ts";
import { checkpointTensors } from "../model/tensors.ts";
import type { KvDtype } from "../ops/kv-cache.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { checkTemplate } from "../text/template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { openWeights, type WeightFormat } from "../weights/checkpoint.ts";
import { fileOrigin } from "../weights/origin.ts";
import { type HubOptions, openSource, readSmall, type SourceLike, type SourceProgress, seldom } from "../weights/source.ts";
import { loadModel } from "./model-load.ts";
import type { Parts } from "./parts.ts";
import { Queue } from "./queue.ts";
import { TileCache } from "./tile-cache.ts";

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

export interface LoadOptions extends HubOptions {
  /** A device of yours, or how to choose an adapter. */
  device?: GPUDevice | DeviceOptions | undefined;
  /** How matrices are held on the GPU: `auto` as stored, or in q8 or q4 where that is what fits. */
  weights?: WeightFormat | undefined;
  /** Tokens of prompt and answer together; the KV cache is sized for it. Default 8192 or what the model has. */
  maxContext?: number | undefined;
  /**
   * How keys and values are held between steps: `auto` is f16, which halves their bytes and rounds each to 11 bits (attention's sums stay
   * f32); `f32` keeps them as they are computed.
   */
  kv?: "auto" | KvDtype | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

const DEFAULT_CONTEXT = 8192;

function specialId(tokenizer: Tokenizer, token: string): number {
  const id = tokenizer.idOf(token);
  if (id === undefined)
    throw new EngineError("bad-weights", `the tokenizer has no token ${token}`, {
      hint: "use the tokenizer files of the InternVL checkpoint",
    });
  return id;
}

/** Checks by the headers alone that every tensor is there. @throws EngineError bad-weights naming the first that is not */
function checkTensors(config: ModelConfig, { tensors }: Checkpoint): void {
  for (const { name, shape } of checkpointTensors(config)) {
    if (tensors.has(name)) continue;
    throw new EngineError("bad-weights", `tensor "${name}" is missing; config.json asks for it with shape [${shape}]`, {
      hint: "config.json and the safetensors files must be of one checkpoint",
    });
  }
}

/**
 * Opens a checkpoint and puts it on the GPU: everything that `InternVL.load` does but the checking of its options.
 *
 * @throws EngineError as `InternVL.load`
 */
export async function loadParts(from: SourceLike, options: LoadOptions): Promise<Parts> {
  const { weights: format = "auto", kv = "auto", signal } = options;
  const onProgress = options.onProgress && seldom(options.onProgress);
  throwIfAborted(signal);
  const source = await openSource(from, { ...options, onProgress });
  const configBytes = await readSmall(source, "config.json");
  if (!configBytes)
    throw new EngineError("bad-weights", "there is no config.json in the model's folder", {
      hint: "give the folder of a whole checkpoint",
    });
  const config = parseConfig(configBytes);
  checkTemplate(config.template);
  const tokenizer = await loadTokenizer((name) => readSmall(source, name));
  const imageContextId = specialId(tokenizer, "<IMG_CONTEXT>");
  const stopId = specialId(tokenizer, "<|im_end|>");
  const maxContext = options.maxContext ?? Math.min(DEFAULT_CONTEXT, config.language.maxPositions);
  if (maxContext > config.language.maxPositions) {
    throw new EngineError("bad-input", `maxContext is ${maxContext}, this model has ${config.language.maxPositions} positions`, {
      hint: `use at most ${config.language.maxPositions}`,
    });
  }
  // Before gigabytes are fetched that nothing could run.
  const { device = {} } = options;
  if (source.download && !("createBuffer" in device)) await platform.requestAdapter(device);
  const checkpoint = await openWeights(source, signal, (headers) => checkTensors(config, headers));
  try {
    const gpu = await openGpu(options.device);
    try {
      const origin = fileOrigin(gpu, checkpoint);
      const upload = (loaded: number, note?: string) =>
        onProgress?.({ phase: "upload", loaded, total: origin.bytes, ...(note ? { note } : {}) });
      upload(0);
      let furthest = 0; // a second attempt of `auto` begins anew, progress does not go back
      const { model, weights } = await loadModel(gpu, origin, config, {
        format,
        maxContext,
        kv: kv === "auto" ? "f16" : kv,
        signal,
        onBytes: (loaded) => upload((furthest = Math.max(furthest, loaded))),
        onNote: (note) => upload(furthest, note),
      });
      onProgress?.({ phase: "compile", loaded: 0, total: 1 });
      await model.recordVision(config.tileSize);
      onProgress?.({ phase: "compile", loaded: 1, total: 1 });
      throwIfAborted(signal);
      const stepper = new Stepper(gpu, model.lanes);
      return { gpu, model, tokenizer, config, weights, imageContextId, stopId, queue: new Queue(), pictures: new TileCache(), stepper };
    } catch (error) {
      gpu.close();
      throw error;
    }
  } finally {
    await checkpoint.close();
  }
}
