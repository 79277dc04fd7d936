import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { loadModel } from "../../src/api/model-load.ts";
import { EngineError } from "../../src/errors.ts";
import { ModelEngine } from "../../src/generate/engine.ts";
import { Scheduler } from "../../src/generate/scheduler.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { openGpus } from "../../src/gpu/devices.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { type Ceilings, measureCeilings } from "../../src/harness/bench-ceilings.ts";
import { openSource } from "../../src/hub/source.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { decodedBytes, prefillFlops, visionFlops } from "../../src/model/cost.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { kvBytes } from "../../src/ops/kv-cache.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import type { WeightFormat } from "../../src/weights/formats.ts";
import { synthesize } from "../../src/weights/synthetic.ts";
import { syntheticTensors } from "../../src/weights/synthetic-source.ts";
import type { TensorSource } from "../../src/weights/tensor-source.ts";
import { loadOrt } from "../kernels/ort-load.ts";
import { checkQwen2 } from "../kernels/qwen2-onnx.ts";
import { CONTEXT_ROOM, CONTEXTS, type ContextRate, decode, type RowsRate, timeContexts, timeRows } from "./bench-decode.ts";
import { readInOwnProcess } from "./bench-read.ts";
import { describeVersus, type Versus, versusOrt } from "./bench-vs.ts";
import { onFile, UsageError } from "./failures.ts";
import { checkModelFlags, deviceOptions, interruptSignal, NANO } from "./model.ts";
import { loadProgress } from "./progress.ts";
import { news, terminal } from "./status.ts";

interface BenchFlags {
  model?: string;
  revision?: string;
  synthetic?: string;
  seed: number;
  weights?: WeightFormat;
  precision?: Precision;
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

async function openSubject({ model, revision, synthetic, seed }: BenchFlags, signal: AbortSignal): Promise<Subject> {
  if (synthetic !== undefined) {
    const config = parseConfig(await onFile("read", synthetic, readFile(synthetic)));
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
const KV = "f16"; // as `load` has it by default

/** Loads a model, or makes one on the GPU, and times its phases against what the adapter can do at most. */
export async function bench(flags: BenchFlags): Promise<void> {
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
      kv: KV,
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
    const { program } = await model.recordVision(size);
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
        await model.runVision(tiles, layout.missing.splice(0, program.maxUnits), layout);
      }
    });
    const visionGflops = (flags.tiles * visionFlops(config)) / GIGA / (visionMs / 1e3);

    status("prefill");
    const engine = new ModelEngine(model);
    const scheduler = new Scheduler(engine);
    const prompt = { inputIds, imageContextId: -1, maxTokens: 1 };
    const prefillMs = await fastest(async () => {
      for await (const _ of engine.prefill(0, prompt, 0, () => false)) {
        await model.flush();
        signal.throwIfAborted();
      }
    });
    const prefillGflops = prefillFlops(config, inputIds.length) / GIGA / (prefillMs / 1e3);

    status("decode");
    const { each, steps, seconds } = await decode(model, scheduler, inputIds, flags.tokens, signal);
    const weightBytes = decodedBytes(config, weights);
    const bytesPerToken = weightBytes + kvBytes(config.language, inputIds.length + steps / 2, KV);
    const floor = (ceilings.streamGBps * GIGA) / bytesPerToken;
    const atContext = await timeContexts(model, weightBytes, KV, signal);
    const rowsTogether = await timeRows(model, signal);
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    if (flags.vs) status("decoding in turns with ONNX Runtime");
    const versus = flags.vs && (await versusOrt(model, scheduler, origin, { prompt: inputIds, steps: flags.tokens, signal }));
    const loadSeconds = (uploaded - began) / 1e3;
    const { readSeconds = null, rereadSeconds = null } = reading ?? {};
    const report = {
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
    };
    status("");
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : describe(report));
  } finally {
    for (const each of gpus) each.close();
  }
}

/** Milliseconds, or seconds where those are more than one. */
const time = (ms: number): string => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1e3).toFixed(2)} s`);
const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`;

interface Report {
  adapter: string;
  weights: string;
  precision: Precision;
  ceilings: Ceilings;
  load: {
    bytes: number;
    seconds: number;
    /** Reading the same files into memory; `null` where there are none, or more than the machine has memory for. */
    readSeconds: number | null;
    /** The load's rate over that of reading into memory. */
    fraction: number | null;
    /** Reading them piece after piece into the same few bytes of memory. */
    rereadSeconds: number | null;
    compileSeconds: number;
  };
  vision: { tiles: number; ms: number; gflops: number; fraction: number };
  prefill: { tokens: number; ms: number; tokensPerSecond: number; gflops: number; fraction: number };
  decode: Record<
    | "tokensPerSecond"
    | "bytesPerToken"
    | "floorTokensPerSecond"
    | "fraction"
    | "dispatchesPerToken"
    | "bindGroupsPerToken"
    | "buffersPerToken"
    | "awaitedReadbacksPerToken"
    | "cpuMsPerToken",
    number
  > & { rowsTogether: RowsRate; atContext: ContextRate[]; versus?: Versus };
  memory: { gpuBytes: number; peakRssBytes: number };
}

function describe({ adapter, weights, precision, ceilings, load, vision, prefill, decode: d, memory }: Report): string {
  const rate = (load.bytes / 1e6 / load.seconds).toFixed(0);
  const into =
    load.readSeconds === null
      ? ""
      : `${load.readSeconds.toFixed(2)} s into memory (the load's rate is ${percent(load.fraction!)} of that), `;
  const read =
    load.rereadSeconds === null
      ? "made on the GPU"
      : `reading the files alone: ${into}${load.rereadSeconds.toFixed(2)} s into the same few MiB over and over`;
  return `${[
    `${adapter}, weights in ${weights}, products ${precision}; ceilings: ${ceilings.fmaGflops.toFixed(1)} GFLOP/s, reading ${ceilings.streamGBps.toFixed(1)} GB/s`,
    `load     ${(load.bytes / 1e6).toFixed(1)} MB in ${load.seconds.toFixed(2)} s (${rate} MB/s), then ${load.compileSeconds.toFixed(2)} s of compiling`,
    `         ${read}`,
    `vision   ${vision.tiles} tiles in ${time(vision.ms)}: ${vision.gflops.toFixed(1)} GFLOP/s, ${percent(vision.fraction)} of the ceiling`,
    `prefill  ${prefill.tokens} tokens in ${time(prefill.ms)}, ${prefill.tokensPerSecond.toFixed(1)} tokens/s: ${prefill.gflops.toFixed(1)} GFLOP/s, ${percent(prefill.fraction)} of the ceiling`,
    `decode   ${d.tokensPerSecond.toFixed(2)} tokens/s; at most ${d.floorTokensPerSecond.toFixed(2)} by ${(d.bytesPerToken / 1e6).toFixed(1)} MB a token: ${percent(d.fraction)}`,
    `         a token: ${d.dispatchesPerToken.toFixed(1)} dispatches, ${d.bindGroupsPerToken.toFixed(2)} bind groups, ${d.buffersPerToken.toFixed(2)} buffers, ${d.awaitedReadbacksPerToken.toFixed(2)} awaited readbacks, ${d.cpuMsPerToken.toFixed(2)} ms of the main thread`,
    `         ${d.rowsTogether.rows} rows together: ${d.rowsTogether.tokensPerSecond.toFixed(2)} tokens/s, ${d.rowsTogether.ratio.toFixed(2)} times one row's`,
    ...d.atContext.map(
      (at) =>
        `         at ${at.context} tokens of context: ${at.tokensPerSecond.toFixed(2)} tokens/s, by its bytes ${at.expectedTokensPerSecond.toFixed(2)}: ${percent(at.beyond)} beyond`,
    ),
    ...(d.versus ? describeVersus(d.versus) : []),
    `memory   ${(memory.gpuBytes / 1e6).toFixed(1)} MB on the GPU, ${(memory.peakRssBytes / 1e6).toFixed(1)} MB resident at most`,
  ].join("\n")}\n`;
}
