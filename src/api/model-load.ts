import { platform } from "#platform";
import { EngineError, late } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { whollyOn } from "../gpu/devices.ts";
import type { ModelConfig } from "../model/config.ts";
import { Model, type ModelOptions } from "../model/internvl.ts";
import { activationBytes, stateBytes } from "../model/memory.ts";
import { layersOn, onOne, type Part, partOf } from "../model/stages.ts";
import { mostTiles } from "../model/steps.ts";
import { layerOf } from "../model/tensors.ts";
import type { KvDtype } from "../ops/kv-cache.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { candidates, misfit, weightBytes } from "../weights/fit.ts";
import { storedFormat, type WeightFormat } from "../weights/formats.ts";
import { GpuWeights } from "../weights/gpu-weights.ts";
import type { TensorSource } from "../weights/tensor-source.ts";

export interface ModelLoadOptions extends Omit<ModelOptions, "parts"> {
  /** Devices beside the first one, over which the decoder's layers are split. */
  beside?: readonly Gpu[] | undefined;
  /** The memory of each device, in any unit; equal by default. */
  split?: readonly number[] | undefined;
  format: WeightFormat;
  maxContext: number;
  kv: KvDtype;
  signal?: AbortSignal | undefined;
  /** Bytes that came so far, and all of them; begins again where `auto` goes on to a smaller format. */
  onBytes?: ((loaded: number, total: number) => void) | undefined;
  /** What `auto` decided. */
  onNote?: ((note: string) => void) | undefined;
}

/** The layers over devices, by their memory. @throws EngineError bad-input for more devices than layers */
export const layersOver = async (layers: number, memory: readonly number[]): Promise<Part[]> =>
  memory.length === 1
    ? onOne(layers)
    : (await late("what splits layers over devices", import("../model/split-layers.ts"))).splitLayers(layers, memory);

/**
 * Loads the weights in a format, or with `auto` in the best one that fits: as they are stored, else q8, else q4.
 *
 * @throws EngineError as `Model.load`
 */
export async function loadModel(
  gpu: Gpu,
  tensors: (format: WeightFormat, gpu: Gpu) => TensorSource,
  config: ModelConfig,
  options: ModelLoadOptions,
): Promise<{ model: Model; weights: MatrixDtype }> {
  const { format, maxContext, kv, signal, onBytes, onNote, beside = [], split, ...rest } = options;
  const gpus = [gpu, ...beside];
  const { language } = config;
  const parts = await layersOver(
    language.layers,
    gpus.map((_, i) => split?.[i] ?? 1),
  );
  const stored = storedFormat(tensors("auto", gpu));
  const attempt = async (weights: MatrixDtype): Promise<{ model: Model; weights: MatrixDtype }> => {
    let loaded = 0;
    // What is stored as asked stays as it is stored, all of it; a packed checkpoint has more that can be quantised.
    const asStored = weights === stored && !(config.packed && format !== "auto");
    const all = gpus.map((each) => {
      const origin = tensors(asStored ? "auto" : weights, each);
      return GpuWeights.of(each, origin, {
        format: asStored ? "auto" : weights,
        signal,
        onBytes: (bytes) => onBytes?.((loaded += bytes), origin.bytes),
      });
    });
    return { model: await Model.load(gpus, all, config, maxContext, kv, { ...rest, parts }), weights };
  };
  /** Why a format does not fit the devices. */
  const tooLarge = async (weights: MatrixDtype): Promise<string | undefined> => {
    const source = tensors(weights === stored ? "auto" : weights, gpu);
    let free = platform.availableMemory(); // the machine's, which adapters on CPUs share
    for (const [device, each] of gpus.entries()) {
      const own = (name: string) => device === (layerOf(name) === undefined ? 0 : partOf(parts, layerOf(name)!).device);
      const state = stateBytes(language, layersOn(device, parts), maxContext, kv);
      const bytes = weightBytes(source, weights, own) + state + activationBytes(config, mostTiles(each));
      const reason = await misfit(each, bytes, free);
      if (reason !== undefined) return reason;
      if (each.kind === "cpu" && free !== undefined) free -= bytes;
    }
    return undefined;
  };
  if (format !== "auto") return attempt(format);

  const formats = candidates(stored, config.packed !== undefined);
  const reasons: string[] = [];
  for (const weights of formats) {
    const last = weights === formats.at(-1);
    let reason = await tooLarge(weights);
    if (reason === undefined || last) {
      if (reasons.length > 0) onNote?.(`weights as ${weights}: ${reasons.join("; ")}`);
      try {
        return await whollyOn(gpus, () => attempt(weights));
      } catch (error) {
        if (last || !(error instanceof EngineError) || error.code !== "out-of-memory") throw error;
        for (const { memory } of gpus) await memory.flush(); // only then is the room free that the attempt took
        reason = beside.length > 0 ? error.message : "the GPU ran out of memory while loading";
      }
    }
    reasons.push(`${weights} ${reason}`);
  }
  throw new Error("the last format either loads or throws");
}
