import { performance } from "node:perf_hooks";
import { platform } from "#platform";
import { loadModel, type ModelLoadOptions } from "../../src/api/model-load.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { openSource } from "../../src/hub/source.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { KvDtype } from "../../src/ops/kv-cache.ts";
import type { WeightFormat } from "../../src/weights/formats.ts";
import type { TensorSource } from "../../src/weights/tensor-source.ts";
import { syntheticTensors } from "../synthetic/source.ts";
import { UsageError } from "./failures.ts";
import { NANO } from "./model.ts";
import { loadProgress } from "./progress.ts";
import { terminal } from "./status.ts";

/** The flags of `internvl bench`. */
export interface BenchFlags {
  model?: string;
  revision?: string;
  synthetic?: string;
  layers?: number;
  visionLayers?: number;
  seed: number;
  weights?: WeightFormat;
  precision?: Precision;
  kv?: "auto" | KvDtype;
  tiles: number;
  prompt: number;
  promptIds?: number[];
  tokens: number;
  vs?: "ort";
  adapter?: string;
  devices?: string[];
  split?: number[];
  json?: boolean;
}

/** Where the weights come from: files, or a rule by which they are made on the GPU. */
export interface Subject {
  config: ModelConfig;
  tensors: (gpu: Gpu, format: WeightFormat) => TensorSource;
  onDisk: boolean;
  close(): Promise<void>;
}

/** The first layers of a tower; a part of a large model fits where the whole does not. */
function fewer<T extends { layers: number }>(flag: string, tower: T, layers = tower.layers): T {
  if (layers > tower.layers) throw new UsageError(`${flag} is ${layers}, this configuration has ${tower.layers} layers`);
  return { ...tower, layers };
}

/** The model that is timed. @throws UsageError for layers that it does not have, and what opening a checkpoint throws */
export async function openSubject(
  { model, revision, synthetic, layers, visionLayers, seed }: BenchFlags,
  signal: AbortSignal,
): Promise<Subject> {
  if (synthetic !== undefined) {
    const whole = parseConfig(await platform.readFile(synthetic));
    if (visionLayers !== undefined && whole.selectLayer !== -1) throw new UsageError("--vision-layers needs a select_layer of -1");
    const language = fewer("--layers", whole.language, layers);
    const config = { ...whole, language, vision: fewer("--vision-layers", whole.vision, visionLayers) };
    return {
      config,
      tensors: (gpu) => syntheticTensors(gpu, checkpointTensors(config), seed),
      onDisk: false,
      close: async () => {},
    };
  }
  const source = await openSource(model ?? NANO, { revision, signal, onProgress: loadProgress(terminal) });
  const { config, files, tensors } = await openCheckpoint(source, { signal });
  return { config, tensors, onDisk: true, close: () => files.close() };
}

/** Loads it, and says when all bytes were uploaded and when everything was compiled, in milliseconds of `performance.now()`. */
export async function loadTimed(
  { tensors, config }: Subject,
  gpu: Gpu,
  options: Omit<ModelLoadOptions, "onBytes" | "onNote">,
  status: (text: string) => void,
) {
  const origin = tensors(gpu, options.format);
  const began = performance.now();
  let uploaded = began;
  const { model, weights } = await loadModel(gpu, (format, gpu) => tensors(gpu, format), config, {
    ...options,
    onBytes(bytes, total) {
      uploaded = performance.now();
      status(`loading weights: ${Math.round((bytes / total) * 100)} %`);
    },
    onNote: (note) => terminal.write(`${note}\n`),
  });
  await model.flush();
  const { program } = await model.visionStage(config.tileSize);
  return { origin, model, weights, vision: program, began, uploaded, ready: performance.now() };
}
