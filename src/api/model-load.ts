import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import { Model, type ModelOptions } from "../model/internvl.ts";
import { memoryNeed } from "../model/memory.ts";
import type { KvDtype } from "../ops/kv-cache.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { candidates, misfit } from "../weights/fit.ts";
import { storedFormat, type WeightFormat } from "../weights/formats.ts";
import { GpuWeights } from "../weights/gpu-weights.ts";
import type { TensorSource } from "../weights/tensor-source.ts";

export interface ModelLoadOptions extends ModelOptions {
  format: WeightFormat;
  maxContext: number;
  kv: KvDtype;
  signal?: AbortSignal | undefined;
  /** Bytes that came so far, and all of them; begins again where `auto` goes on to a smaller format. */
  onBytes?: ((loaded: number, total: number) => void) | undefined;
  /** What `auto` decided. */
  onNote?: ((note: string) => void) | undefined;
}

/**
 * Loads the weights in a format, or with `auto` in the best one that fits: as they are stored, else q8, else q4.
 *
 * @throws EngineError as `Model.load`
 */
export async function loadModel(
  gpu: Gpu,
  tensors: (format: WeightFormat) => TensorSource,
  config: ModelConfig,
  options: ModelLoadOptions,
): Promise<{ model: Model; weights: MatrixDtype }> {
  const { format, maxContext, kv, signal, onBytes, onNote, ...rest } = options;
  const stored = storedFormat(tensors("auto"));
  const attempt = async (weights: MatrixDtype): Promise<{ model: Model; weights: MatrixDtype }> => {
    let loaded = 0;
    // What is stored as asked stays as it is stored, all of it; a packed checkpoint has more that can be quantised.
    const asStored = weights === stored && !(config.packed && format !== "auto");
    const origin = tensors(asStored ? "auto" : weights);
    const w = GpuWeights.of(gpu, origin, {
      format: asStored ? "auto" : weights,
      signal,
      onBytes: (bytes) => onBytes?.((loaded += bytes), origin.bytes),
    });
    return { model: await Model.load(gpu, w, config, maxContext, kv, rest), weights };
  };
  if (format !== "auto") return attempt(format);

  const formats = candidates(stored, config.packed !== undefined);
  const reasons: string[] = [];
  for (const weights of formats) {
    const last = weights === formats.at(-1);
    const { total } = memoryNeed(config, tensors(weights === stored ? "auto" : weights), weights, maxContext, kv);
    let reason = await misfit(gpu, total, platform.availableMemory());
    if (reason === undefined || last) {
      if (reasons.length > 0) onNote?.(`weights as ${weights}: ${reasons.join("; ")}`);
      try {
        return await gpu.memory.wholly(() => attempt(weights));
      } catch (error) {
        if (last || !(error instanceof EngineError) || error.code !== "out-of-memory") throw error;
        await gpu.memory.flush(); // only then is the room free that the attempt took
        reason = "the GPU ran out of memory while loading";
      }
    }
    reasons.push(`${weights} ${reason}`);
  }
  throw new Error("the last format either loads or throws");
}
