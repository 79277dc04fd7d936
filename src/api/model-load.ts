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

/** How a model's weights are loaded, and over which devices. */
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

type Tensors = (format: WeightFormat, gpu: Gpu) => TensorSource;
type Loaded = { model: Model; weights: MatrixDtype };

/**
 * Loads the weights in a format, or with `auto` in the best one that fits: as they are stored, else q8, else q4.
 *
 * @throws EngineError as `Model.load`
 */
export async function loadModel(gpu: Gpu, tensors: Tensors, config: ModelConfig, options: ModelLoadOptions): Promise<Loaded> {
  const { format, maxContext, kv, signal, onBytes, onNote, beside = [], split, ...rest } = options;
  const gpus = [gpu, ...beside];
  const parts = await layersOver(
    config.language.layers,
    gpus.map((_, i) => split?.[i] ?? 1),
  );
  const stored = storedFormat(tensors("auto", gpu));
  const attempt = async (weights: MatrixDtype): Promise<Loaded> => {
    let loaded = 0;
    // What is stored as asked stays as it is stored, all of it; a packed checkpoint has more that can be quantised.
    const asStored = weights === stored && !(config.packed && format !== "auto");
    const held = asStored ? "auto" : weights;
    const all = gpus.map((each) => {
      const source = tensors(held, each);
      return GpuWeights.of(each, source, { format: held, signal, onBytes: (bytes) => onBytes?.((loaded += bytes), source.bytes) });
    });
    return { model: await Model.load(gpus, all, config, maxContext, kv, { ...rest, parts }), weights };
  };
  if (format !== "auto") return attempt(format);

  const formats = candidates(stored, config.packed !== undefined);
  const reasons: string[] = [];
  for (const weights of formats) {
    const last = weights === formats.at(-1);
    const source = tensors(weights === stored ? "auto" : weights, gpu);
    let reason = await tooLarge(weights, source, gpus, parts, config, options);
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

/** Why a model does not fit its devices with the matrices in a format; undefined where it does. */
async function tooLarge(
  weights: MatrixDtype,
  source: TensorSource,
  gpus: readonly Gpu[],
  parts: readonly Part[],
  config: ModelConfig,
  { maxContext, kv }: ModelLoadOptions,
): Promise<string | undefined> {
  let free = platform.availableMemory(); // the machine's, which adapters on CPUs share
  for (const [device, gpu] of gpus.entries()) {
    const own = (name: string) => device === (layerOf(name) === undefined ? 0 : partOf(parts, layerOf(name)!).device);
    const state = stateBytes(config.language, layersOn(device, parts), maxContext, kv);
    const bytes = weightBytes(source, weights, own) + state + activationBytes(config, mostTiles(gpu));
    const reason = await misfit(gpu, bytes, free);
    if (reason !== undefined) return reason;
    if (gpu.kind === "cpu" && free !== undefined) free -= bytes;
  }
  return undefined;
}
