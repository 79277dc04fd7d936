import { EngineError } from "../../src/errors.ts";
import { engineOf } from "../../src/generate/engine.ts";
import { Scheduler } from "../../src/generate/scheduler.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { openGpus } from "../../src/gpu/devices.ts";
import type { LanguageConfig } from "../../src/model/config.ts";
import { kvBytes } from "../../src/ops/kv-cache.ts";
import { type Ceilings, measureCeilings } from "../kernels/bench-ceilings.ts";
import { loadOrt } from "../kernels/ort-load.ts";
import { checkQwen2 } from "../kernels/qwen2-onnx.ts";
import { CONTEXT_ROOM, CONTEXTS, decode, timeContexts, timeRows } from "./bench-decode.ts";
import { timeFirstTokens } from "./bench-first.ts";
import { timePrefill, timeVision } from "./bench-phases.ts";
import { productsOf } from "./bench-products.ts";
import { readInOwnProcess } from "./bench-read.ts";
import { describe, type Report } from "./bench-report.ts";
import { type BenchFlags, loadTimed, openSubject, type Subject } from "./bench-subject.ts";
import { versusOrt } from "./bench-vs.ts";
import { decodedBytes, prefillFlops, visionFlops } from "./cost.ts";
import { UsageError } from "./failures.ts";
import { checkModelFlags, deviceOptions, interruptSignal, NANO, sayToy } from "./model.ts";
import { news } from "./status.ts";

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

/** The prompt's ids: those that were given, or made-up ones. @throws EngineError bad-input for ids that the model does not have */
function promptOf({ promptIds, prompt }: BenchFlags, { vocabSize }: LanguageConfig): readonly number[] {
  const inputIds = promptIds ?? Array.from({ length: prompt }, (_, i) => (i * 7919) % vocabSize);
  const bad = inputIds.find((id) => id >= vocabSize);
  const problem = `the prompt has the id ${bad}, this model has ${vocabSize} ids`;
  if (bad !== undefined) throw new EngineError("bad-input", problem, { hint: "take ids of its own tokenizer" });
  return inputIds;
}

async function benchSubject(subject: Subject, flags: BenchFlags, signal: AbortSignal): Promise<void> {
  const { config } = subject;
  const status = news();
  const inputIds = promptOf(flags, config.language);
  if (flags.vs) checkQwen2(config.language);
  if (subject.onDisk) status("reading the files");
  const reading = subject.onDisk ? await readInOwnProcess(flags.model ?? NANO, flags.revision, signal) : undefined;
  const { device = {}, devices = [device] } = deviceOptions(flags);
  const gpus = await openGpus(devices);
  try {
    sayToy(flags.synthetic ?? flags.model);
    const report = await measure(subject, gpus, { flags, inputIds, reading, signal, status });
    status("");
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : describe(report));
  } finally {
    for (const each of gpus) each.close();
  }
}

/** What is timed, and how. */
interface Measuring {
  flags: BenchFlags;
  inputIds: readonly number[];
  reading: Awaited<ReturnType<typeof readInOwnProcess>> | undefined;
  signal: AbortSignal;
  status: (text: string) => void;
}

/** Loads the model and times its phases, one after the other. */
async function measure(subject: Subject, gpus: readonly Gpu[], { flags, inputIds, reading, signal, status }: Measuring): Promise<Report> {
  const { config } = subject;
  const [gpu, ...beside] = gpus as [Gpu, ...Gpu[]];
  const { weights: format = "auto", precision = "auto", split, tiles } = flags;
  const kv = flags.kv === "f32" ? "f32" : "f16"; // as `load` has it by default
  const wanted = Math.max(inputIds.length + flags.tokens + 1, tiles * config.tokensPerTile, CONTEXTS.at(-1)! + CONTEXT_ROOM);
  const maxContext = Math.min(config.language.maxPositions, wanted);
  status("measuring the adapter's ceilings");
  const { ceilings } = await measureCeilings(gpu);
  const loading = { beside, split, format, maxContext, kv, precision, signal } as const;
  const { origin, model, weights, vision, ...times } = await loadTimed(subject, gpu, loading, status);

  status("vision");
  const visionMs = await timeVision(model, tiles, signal);
  status("prefill");
  const engine = engineOf(model);
  const prefillMs = await timePrefill(model, engine, inputIds, signal);
  status("first tokens");
  const scheduler = new Scheduler(engine);
  const rate = { tileMs: visionMs / tiles, tokenMs: prefillMs / inputIds.length };
  const firstTokens = await timeFirstTokens(model, scheduler, rate, (text) => status(text), signal);
  status("decode");
  const decoded = await decode(model, scheduler, inputIds, flags.tokens, signal);
  const weightBytes = decodedBytes(config, weights);
  const bytesPerToken = weightBytes + kvBytes(config.language, inputIds.length + decoded.steps / 2, kv);
  const atContext = await timeContexts(model, weightBytes, kv, signal);
  const rowsTogether = await timeRows(model, signal);
  const peakRssBytes = process.resourceUsage().maxRSS * 1024;
  if (flags.vs) status("decoding in turns with ONNX Runtime");
  const versus = flags.vs && (await versusOrt(model, scheduler, origin, { prompt: inputIds, steps: flags.tokens, signal }));
  return {
    adapter: gpus.map(({ adapterName }) => adapterName).join(", "),
    ...{ weights, precision, ceilings },
    load: loadOf(origin.bytes, times, reading),
    vision: { tiles, ms: visionMs, ...arithmetic(tiles * visionFlops(config), visionMs, ceilings) },
    prefill: {
      tokens: inputIds.length,
      ms: prefillMs,
      tokensPerSecond: (1e3 * inputIds.length) / prefillMs,
      ...arithmetic(prefillFlops(config, inputIds.length), prefillMs, ceilings),
    },
    firstTokens,
    decode: { ...decodeOf(decoded, bytesPerToken, ceilings), rowsTogether, atContext, ...(versus && { versus }) },
    memory: { gpuBytes: gpus.reduce((sum, { memory }) => sum + memory.bytes, 0), peakRssBytes },
    products: productsOf([vision, ...model.decoder.programs()]),
  };
}

type Reading = Measuring["reading"];

function loadOf(
  bytes: number,
  { began, uploaded, ready }: Record<"began" | "uploaded" | "ready", number>,
  reading: Reading,
): Report["load"] {
  const seconds = (uploaded - began) / 1e3;
  const { readSeconds = null, rereadSeconds = null } = reading ?? {};
  const fraction = readSeconds === null ? null : readSeconds / seconds;
  return { bytes, seconds, readSeconds, fraction, rereadSeconds, compileSeconds: (ready - uploaded) / 1e3 };
}

/** How fast some arithmetic was, and which share of the adapter's ceiling that is. */
function arithmetic(flops: number, ms: number, { fmaGflops }: Ceilings): { gflops: number; fraction: number } {
  const gflops = flops / GIGA / (ms / 1e3);
  return { gflops, fraction: gflops / fmaGflops };
}

function decodeOf({ each, steps, seconds }: Awaited<ReturnType<typeof decode>>, bytesPerToken: number, { streamGBps }: Ceilings) {
  const floor = (streamGBps * GIGA) / bytesPerToken;
  return {
    tokensPerSecond: steps / seconds,
    bytesPerToken,
    floorTokensPerSecond: floor,
    fraction: steps / seconds / floor,
    dispatchesPerToken: each("dispatches"),
    bindGroupsPerToken: each("bindGroups"),
    buffersPerToken: each("buffers"),
    awaitedReadbacksPerToken: each("awaitedReadbacks"),
    cpuMsPerToken: each("cpuMs"),
  };
}
