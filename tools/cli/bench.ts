import { performance } from "node:perf_hooks";
import { platform } from "#platform";
import { loadModel } from "../../src/api/model-load.ts";
import { EngineError } from "../../src/errors.ts";
import { engineOf } from "../../src/generate/engine.ts";
import { Scheduler } from "../../src/generate/scheduler.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { openGpus } from "../../src/gpu/devices.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { openSource } from "../../src/hub/source.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { evenly } from "../../src/model/steps.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { type KvDtype, kvBytes } from "../../src/ops/kv-cache.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import type { WeightFormat } from "../../src/weights/formats.ts";
import type { TensorSource } from "../../src/weights/tensor-source.ts";
import { measureCeilings } from "../kernels/bench-ceilings.ts";
import { loadOrt } from "../kernels/ort-load.ts";
import { checkQwen2 } from "../kernels/qwen2-onnx.ts";
import { syntheticTensors } from "../synthetic/source.ts";
import { synthesize } from "../synthetic/tensors.ts";
import { CONTEXT_ROOM, CONTEXTS, decode, timeContexts, timeRows } from "./bench-decode.ts";
import { timeFirstTokens } from "./bench-first.ts";
import { productsOf } from "./bench-products.ts";
import { readInOwnProcess } from "./bench-read.ts";
import { describe, type Report } from "./bench-report.ts";
import { versusOrt } from "./bench-vs.ts";
import { decodedBytes, prefillFlops, visionFlops } from "./cost.ts";
import { UsageError } from "./failures.ts";
import { checkModelFlags, deviceOptions, interruptSignal, NANO, sayToy } from "./model.ts";
import { loadProgress } from "./progress.ts";
import { news, terminal } from "./status.ts";

interface BenchFlags {
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
interface Subject {
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

async function openSubject({ model, revision, synthetic, layers, visionLayers, seed }: BenchFlags, signal: AbortSignal): Promise<Subject> {
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

const LONG_MS = 10_000;

/** Milliseconds of the fastest of three runs, after one that warms up; a run of over 10 seconds has warmed up by itself, and is enough. */
async function fastest(work: () => Promise<void>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 4; run++) {
    const began = performance.now();
    await work();
    const ms = performance.now() - began;
    if (run > 0 || ms > LONG_MS) best = Math.min(best, ms);
    if (ms > LONG_MS) break;
  }
  return best;
}

const GIGA = 1e9;

/** Loads a model, or makes one on the GPU, and times its phases against what the adapter can do at most. */
export async function bench(flags: BenchFlags): Promise<void> {
  if (flags.synthetic === undefined && (flags.layers ?? flags.visionLayers) !== undefined)
    throw new UsageError("--layers and --vision-layers are of --synthetic: a model has the layers that it has");
  if (flags.synthetic !== undefined && flags.model !== undefined) throw new UsageError("--synthetic makes a model: leave out --model");
  await checkModelFlags(flags);
  if (flags.vs) loadOrt(); // told at once where it is missing
  const signal = interruptSignal();
  const subject = await openSubject(flags, signal);
  try {
    await benchSubject(subject, flags, signal);
  } finally {
    await subject.close();
  }
}

async function benchSubject(subject: Subject, flags: BenchFlags, signal: AbortSignal): Promise<void> {
  const { config } = subject;
  const kv = flags.kv === "f32" ? "f32" : "f16"; // as `load` has it by default
  const status = news();
  const inputIds = flags.promptIds ?? Array.from({ length: flags.prompt }, (_, i) => (i * 7919) % config.language.vocabSize);
  const bad = inputIds.find((id) => id >= config.language.vocabSize);
  if (bad !== undefined)
    throw new EngineError("bad-input", `the prompt has the id ${bad}, this model has ${config.language.vocabSize} ids`);
  if (flags.vs) checkQwen2(config.language);
  const wanted = Math.max(inputIds.length + flags.tokens + 1, flags.tiles * config.tokensPerTile, CONTEXTS.at(-1)! + CONTEXT_ROOM);
  const maxContext = Math.min(config.language.maxPositions, wanted);
  if (subject.onDisk) status("reading the files");
  const reading = subject.onDisk ? await readInOwnProcess(flags.model ?? NANO, flags.revision, signal) : undefined;
  const { device = {}, devices = [device] } = deviceOptions(flags);
  const gpus = await openGpus(devices);
  const [gpu, ...beside] = gpus as [Gpu, ...Gpu[]];
  try {
    sayToy(flags.synthetic ?? flags.model);
    status("measuring the adapter's ceilings");
    const { ceilings } = await measureCeilings(gpu);
    const origin = subject.tensors(gpu, flags.weights ?? "auto");
    const began = performance.now();
    let uploaded = began;
    const { model, weights } = await loadModel(gpu, (format, gpu) => subject.tensors(gpu, format), config, {
      beside,
      split: flags.split,
      format: flags.weights ?? "auto",
      maxContext,
      kv,
      precision: flags.precision ?? "auto",
      signal,
      onBytes(bytes, total) {
        uploaded = performance.now();
        status(`loading weights: ${Math.round((bytes / total) * 100)} %`);
      },
      onNote: (note) => terminal.write(`${note}\n`),
    });
    await model.flush();
    const size = config.tileSize;
    const { program } = await model.visionStage(size);
    const ready = performance.now();

    status("vision");
    const one = synthesize("input.pixel_values.tile0", [3, size, size], 0, 0, 3 * size * size);
    const pixels = widenBf16(one);
    let run = 0;
    const visionMs = await fastest(async () => {
      const keys = Array.from({ length: flags.tiles }, (_, i) => `run ${run} tile ${i}`); // other tiles than before: none is in the cache
      const tiles = { count: flags.tiles, size, keys, pixels: () => pixels };
      const layout = model.visual.place(keys, 0, config.tokensPerTile);
      run++;
      while (layout.missing.length > 0) {
        signal.throwIfAborted();
        await model.runVision(tiles, layout.missing.splice(0, evenly(layout.missing.length, program.maxUnits)), layout);
      }
    });
    const visionGflops = (flags.tiles * visionFlops(config)) / GIGA / (visionMs / 1e3);

    status("prefill");
    const engine = engineOf(model);
    const scheduler = new Scheduler(engine);
    const prompt = { inputIds, imageContextId: -1, maxTokens: 1 };
    const prefillMs = await fastest(async () => {
      for await (const _ of engine.prefill(0, prompt, 0, () => false)) {
        await model.flush();
        signal.throwIfAborted();
      }
    });
    const prefillGflops = prefillFlops(config, inputIds.length) / GIGA / (prefillMs / 1e3);

    status("first tokens");
    const rate = { tileMs: visionMs / flags.tiles, tokenMs: prefillMs / inputIds.length };
    const firstTokens = await timeFirstTokens(model, scheduler, rate, (text) => status(text), signal);

    status("decode");
    const { each, steps, seconds } = await decode(model, scheduler, inputIds, flags.tokens, signal);
    const weightBytes = decodedBytes(config, weights);
    const bytesPerToken = weightBytes + kvBytes(config.language, inputIds.length + steps / 2, kv);
    const floor = (ceilings.streamGBps * GIGA) / bytesPerToken;
    const atContext = await timeContexts(model, weightBytes, kv, signal);
    const rowsTogether = await timeRows(model, signal);
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    if (flags.vs) status("decoding in turns with ONNX Runtime");
    const versus = flags.vs && (await versusOrt(model, scheduler, origin, { prompt: inputIds, steps: flags.tokens, signal }));
    const loadSeconds = (uploaded - began) / 1e3;
    const { readSeconds = null, rereadSeconds = null } = reading ?? {};
    const report: Report = {
      adapter: gpus.map(({ adapterName }) => adapterName).join(", "),
      weights,
      precision: flags.precision ?? "auto",
      ceilings,
      load: {
        bytes: origin.bytes,
        seconds: loadSeconds,
        readSeconds,
        fraction: readSeconds === null ? null : readSeconds / loadSeconds,
        rereadSeconds,
        compileSeconds: (ready - uploaded) / 1e3,
      },
      vision: { tiles: flags.tiles, ms: visionMs, gflops: visionGflops, fraction: visionGflops / ceilings.fmaGflops },
      prefill: {
        tokens: inputIds.length,
        ms: prefillMs,
        tokensPerSecond: (1e3 * inputIds.length) / prefillMs,
        gflops: prefillGflops,
        fraction: prefillGflops / ceilings.fmaGflops,
      },
      firstTokens,
      decode: {
        tokensPerSecond: steps / seconds,
        bytesPerToken,
        floorTokensPerSecond: floor,
        fraction: steps / seconds / floor,
        dispatchesPerToken: each("dispatches"),
        bindGroupsPerToken: each("bindGroups"),
        buffersPerToken: each("buffers"),
        awaitedReadbacksPerToken: each("awaitedReadbacks"),
        cpuMsPerToken: each("cpuMs"),
        rowsTogether,
        atContext,
        ...(versus && { versus }),
      },
      memory: { gpuBytes: gpus.reduce((sum, { memory }) => sum + memory.bytes, 0), peakRssBytes },
      products: productsOf([program, ...model.decoder.programs()]),
    };
    status("");
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : describe(report));
  } finally {
    for (const each of gpus) each.close();
  }
}
