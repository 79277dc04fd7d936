import { EngineError } from "../errors.ts";
import { NO_GGUF } from "../gguf.ts";
import { type DeviceOptions, openGpu } from "../gpu/device.ts";
import { asBadWeights, openWeights } from "../hub/open.ts";
import { type OutputFolder, type OutputLike, openOutput, output, writeInto, writeWhole } from "../hub/output.ts";
import {
  checkSource,
  type HubOptions,
  openSource,
  readSmall,
  type SourceLike,
  type SourceProgress,
  type StagedSource,
  seldom,
} from "../hub/source.ts";
import { openAdapters } from "../hub/source-adapters.ts";
import type { ModelConfig } from "../model/config.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../model/open-checkpoint.ts";
import { relayout } from "../model/relayout.ts";
import { filesIn } from "../model/relayout-files.ts";
import { isHead } from "../model/tensors.ts";
import { callback, count, isRecord, oneOf, type Reader, readOptions, wrong } from "../options.ts";
import { newSha256 } from "../platform/sha256.ts";
import { type Checkpoint, MAX_READ } from "../safetensors/index.ts";
import { isQuantized } from "../tensor/tensor.ts";
import { type ConvertFormat, convertTensors } from "../weights/convert.ts";
import { relaidTensors } from "../weights/relaid.ts";
import { LICENCES, SMALL_FILES } from "../weights/small-files.ts";
import { tensorBytes } from "../weights/tensor-source.ts";
import { type TensorReport, verifyConversion } from "../weights/verify.ts";
import { abortable } from "./aborting.ts";
import { LOAD, SOURCE } from "./accept-load.ts";

/** How far a conversion is, in bytes of the original. The phases come in this order; each phase's numbers only grow. */
export interface ConvertProgress {
  /** Up to `verify` of a download; `hash` reads the original, `convert` writes the new files, `compare` reads them back. */
  phase: SourceProgress["phase"] | "hash" | "convert" | "compare" | "ready";
  loaded: number;
  total: number;
  file?: string;
  note?: string;
}

/** Into which format a checkpoint is converted, and where to. */
export interface ConvertOptions extends HubOptions {
  /** The format of the matrices; vectors stay as they are. */
  to: ConvertFormat;
  /**
   * How the new checkpoint is laid out: `hf` as transformers saves its InternVLForConditionalGeneration, `upstream` as OpenGVLab publishes
   * its InternVLChatModel; by default as the original. Not for q8 and q4, which only this engine reads.
   */
  layout?: "hf" | "upstream" | undefined;
  /** LoRA adapters that are merged into it, in f32, before the sums are rounded or quantised. */
  adapters?: readonly SourceLike[] | undefined;
  /** Where the new checkpoint goes: a folder's path (in a page: one of the site's private file system), an opened folder, or anything that creates and opens files. */
  out: OutputLike;
  /** Bytes of tensors in a file, at most (a tensor is never split). Default 5 GB. */
  shardBytes?: number | undefined;
  /** A device of yours, or how to choose an adapter: the GPU's kernels convert, as they do while a model is loaded. */
  device?: GPUDevice | DeviceOptions | undefined;
  signal?: AbortSignal | undefined;
  /** Called as the conversion gets on; what it throws ends it, as it is. */
  onProgress?: ((progress: ConvertProgress) => void) | undefined;
}

/** What a conversion has written. */
export interface Conversion {
  to: ConvertFormat;
  /** Bytes of the original's tensors. */
  sourceBytes: number;
  /** Bytes of the new ones, scales included. */
  bytes: number;
  /** Every tensor, with its error against the original. */
  tensors: TensorReport[];
}

const LAYOUT = { hf: "huggingface", upstream: "original" } as const;

/** GGUF is what many look for. */
const format: Reader<ConvertFormat> = (value, name) => {
  if (typeof value === "string" && /^gguf$/i.test(value)) throw wrong(name, value, "q4, q8, f32, f16 or bf16", NO_GGUF);
  return oneOf("q4", "q8", "f32", "f16", "bf16")(value, name);
};

const CONVERT = {
  ...SOURCE,
  to: format,
  layout: oneOf("hf", "upstream"),
  adapters: LOAD.adapters,
  out: output,
  shardBytes: count,
  device: LOAD.device,
  onProgress: callback<NonNullable<ConvertOptions["onProgress"]>>(),
};

const SHARD_BYTES = 5e9; // as the transformers library has it

/** sha256 of every file, as `sha256sum` prints it. */
async function hashes({ files }: Checkpoint, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<string> {
  const lines: string[] = [];
  for (const { size, source } of files) {
    const hash = newSha256();
    for (let at = 0; at < size; at += MAX_READ) {
      const bytes = await asBadWeights(() => source.read(at, Math.min(MAX_READ, size - at), signal));
      hash.update(bytes);
      onBytes(bytes.length);
    }
    lines.push(`${hash.hex()}  ${source.name}`);
  }
  return lines.join("\n");
}

const TORCH = { f32: "float32", f16: "float16", bf16: "bfloat16" };

/** config.json with what says how the weights are stored. */
function convertedConfig(config: Uint8Array, to: ConvertFormat): Uint8Array {
  const json = JSON.parse(new TextDecoder().decode(config)) as Record<string, unknown>;
  delete json.quantization;
  delete json.dtype; // transformers 5's word for torch_dtype
  for (const key of ["use_llm_lora", "use_backbone_lora"]) if (json[key]) json[key] = 0; // what they say of is merged
  for (const owner of [json, ...Object.values(json)]) if (isRecord(owner)) delete owner.quantization_config; // it is not packed any more
  const quantization = { method: "internvl-webgpu", format: to, group_size: 32, scale_dtype: "float16", scales: "NAME.scales" };
  const stored = isQuantized(to) ? { quantization } : { torch_dtype: TORCH[to] };
  return new TextEncoder().encode(`${JSON.stringify({ ...json, ...stored }, null, 2)}\n`);
}

type Settings = Pick<ConvertOptions, "device" | "signal"> & { to: ConvertFormat; shardBytes: number; config: ModelConfig };
type Report = (phase: "hash" | "convert" | "compare", total: number) => (bytes: number) => void;

/** Writes tensors and small files, and reads them back. */
async function convertInto(
  folder: OutputFolder,
  { files, config: original, shapes, tensors }: OpenedCheckpoint<unknown>,
  small: ReadonlyMap<string, Uint8Array>,
  { to, shardBytes, device, signal, config }: Settings,
  report: Report,
): Promise<TensorReport[]> {
  const total = files.files.reduce((sum, { size }) => sum + size, 0);
  const sha256 = await hashes(files, report("hash", total), signal);
  const metadata = new Map([
    ["format", "pt"],
    ["converted_by", "internvl-webgpu"],
    ["converted_to", to],
    ["source_sha256", sha256],
    ["licence", files.metadata.get("licence") ?? LICENCES],
  ]);
  const gpu = await openGpu(device);
  try {
    const same = config.layout === original.layout;
    const source = same ? tensors(gpu, to) : relaidTensors(gpu, tensors(gpu, to), relayout(original, config, shapes));
    await convertTensors(gpu, { source, to, out: folder, metadata, shardBytes, signal, onBytes: report("convert", source.bytes) });
    for (const [name, content] of small) await writeWhole(folder, name, name === "config.json" ? convertedConfig(content, to) : content);
    const written = await openWeights(folder, signal);
    try {
      return await verifyConversion(source, written, { signal, onBytes: report("compare", source.bytes) });
    } finally {
      await written.close();
    }
  } finally {
    gpu.close();
  }
}

/** What goes beside the tensors, and what its config.json says. @throws EngineError bad-weights, bad-input */
async function smallFiles(
  source: StagedSource,
  { config, shapes }: OpenedCheckpoint<unknown>,
  layout = config.layout,
): Promise<{ small: Map<string, Uint8Array>; config: ModelConfig }> {
  if (config.converted) {
    throw new EngineError("bad-input", `the checkpoint is in ${config.converted.format} already, only F32, F16 and BF16 can be converted`, {
      hint: "convert the original checkpoint, not one that was converted before",
    });
  }
  const read = (name: string) => readSmall(source, name);
  if (layout !== config.layout) {
    const { files, config: target } = await filesIn(layout, config, read, ![...shapes.keys()].some(isHead));
    return { small: files, config: target };
  }
  const found = await Promise.all([...SMALL_FILES, "config.json"].map(async (name) => ({ name, bytes: await read(name) })));
  return { small: new Map(found.flatMap(({ name, bytes }) => (bytes ? [[name, bytes]] : []))), config };
}

/**
 * Writes a checkpoint with its matrices in another format, or in the other layout: a folder that `InternVL.load` takes like the original, with tokenizer and
 * configuration. It is read back and compared before the promise resolves; where anything fails, what was written is removed.
 *
 * @throws EngineError bad-input (an option; a folder that is not empty; a checkpoint that is quantised already), bad-weights (the original;
 * values that the format cannot hold; files that read back differently), limit-exceeded (no space), network, device errors, aborted
 *
 * @example
 * ```ts
 * const { bytes, sourceBytes } = await convertWeights("OpenGVLab/InternVL2_5-1B", { to: "q4", out: "./1b-q4" });
 * ```
 */
export async function convertWeights(source: SourceLike, options: ConvertOptions): Promise<Conversion> {
  const from = checkSource(source);
  const { to, layout, out, adapters: sources = [], shardBytes = SHARD_BYTES, ...more } = readOptions("convertWeights", options, CONVERT);
  const { device, signal, onProgress, ...hub } = more;
  if (to === undefined) throw wrong("to", to, "a format: q4, q8, f32, f16 or bf16");
  if (out === undefined) throw wrong("out", out, "a folder for the new checkpoint");
  if (layout !== undefined && isQuantized(to)) {
    const problem = `to is "${to}", and layout "${layout}": transformers and upstream's code do not read weights in ${to}`;
    const hint = "with a layout take bf16, f16 or f32; for this engine convert to q8 or q4 without one";
    throw new EngineError("bad-input", problem, { hint });
  }
  const tell = onProgress && seldom(onProgress);
  const report: Report = (phase, total) => {
    let loaded = 0;
    return (bytes) => tell?.({ phase, loaded: (loaded += bytes), total });
  };
  return abortable(signal, async () => {
    const folder = await openOutput(out); // before a download
    const opened = await openSource(from, { ...hub, signal, onProgress: tell });
    const adapters = await openAdapters(sources, { ...hub, signal });
    const checkpoint = await openCheckpoint(opened, { signal, adapters });
    try {
      const { small, config } = await smallFiles(opened, checkpoint, layout && LAYOUT[layout]);
      const settings = { to, shardBytes, device, signal, config };
      const tensors = await writeInto(folder, (into) => convertInto(into, checkpoint, small, settings, report));
      tell?.({ phase: "ready", loaded: 1, total: 1 });
      return { to, sourceBytes: tensorBytes(checkpoint.files.tensors), bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0), tensors };
    } finally {
      await checkpoint.files.close();
    }
  });
}
