import { EngineError } from "../errors.ts";
import { type DeviceOptions, openGpu } from "../gpu/device.ts";
import { asBadWeights, openWeights } from "../hub/open.ts";
import { type OutputFolder, type OutputLike, openOutput, output, writeInto, writeWhole } from "../hub/output.ts";
import {
  checkSource,
  type HubOptions,
  openAdapters,
  openSource,
  readSmall,
  type SourceLike,
  type SourceProgress,
  seldom,
} from "../hub/source.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../model/open-checkpoint.ts";
import { callback, count, isRecord, oneOf, readOptions, wrong } from "../options.ts";
import { newSha256 } from "../platform/sha256.ts";
import { type Checkpoint, MAX_READ } from "../safetensors/index.ts";
import { isQuantized } from "../tensor/tensor.ts";
import { type ConvertFormat, convertTensors } from "../weights/convert.ts";
import { LICENCES, SMALL_FILES } from "../weights/small-files.ts";
import { type TensorReport, verifyConversion } from "../weights/verify.ts";
import { abortable } from "./abortable.ts";
import { ADAPTERS, DEVICE, SOURCE } from "./accept-load.ts";

/** How far a conversion is, in bytes of the original. The phases come in this order; each phase's numbers only grow. */
export interface ConvertProgress {
  /** Up to `verify` of a download; `hash` reads the original, `convert` writes the new files, `compare` reads them back. */
  phase: SourceProgress["phase"] | "hash" | "convert" | "compare" | "ready";
  loaded: number;
  total: number;
  file?: string;
  note?: string;
}

export interface ConvertOptions extends HubOptions {
  /** The format of the matrices; vectors stay as they are. */
  to: ConvertFormat;
  /** LoRA adapters that are merged into it, in f32, before the sums are rounded or quantised. */
  adapters?: readonly SourceLike[] | undefined;
  /** Where the new checkpoint goes: a folder's path (in a page: one of the site's private file system), an opened folder, or anything that creates and opens files. */
  out: OutputLike;
  /** Bytes of tensors in a file, at most (a tensor is never split). Default 5 GB. */
  shardBytes?: number | undefined;
  /** A device of yours, or how to choose an adapter: the GPU's kernels convert, as they do while a model is loaded. */
  device?: GPUDevice | DeviceOptions | undefined;
  signal?: AbortSignal | undefined;
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

const CONVERT = {
  ...SOURCE,
  to: oneOf("q4", "q8", "f16", "bf16"),
  adapters: ADAPTERS,
  out: output,
  shardBytes: count,
  device: DEVICE,
  onProgress: callback<NonNullable<ConvertOptions["onProgress"]>>(),
};

const SHARD_BYTES = 5e9; // as the transformers library has it

const bytesOf = ({ tensors }: Checkpoint): number => [...tensors.values()].reduce((sum, { info }) => sum + info.end - info.begin, 0);

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

/** config.json with what says how the weights are stored. */
function convertedConfig(config: Uint8Array, to: ConvertFormat): Uint8Array {
  const json = JSON.parse(new TextDecoder().decode(config)) as Record<string, unknown>;
  delete json.quantization;
  for (const key of ["use_llm_lora", "use_backbone_lora"]) if (json[key]) json[key] = 0; // what they say of is merged
  for (const owner of [json, ...Object.values(json)]) if (isRecord(owner)) delete owner.quantization_config; // it is not packed any more
  const quantization = { method: "internvl-webgpu", format: to, group_size: 32, scale_dtype: "float16", scales: "NAME.scales" };
  const stored = isQuantized(to) ? { quantization } : { torch_dtype: to === "f16" ? "float16" : "bfloat16" };
  return new TextEncoder().encode(`${JSON.stringify({ ...json, ...stored }, null, 2)}\n`);
}

type Settings = Pick<ConvertOptions, "device" | "signal"> & { to: ConvertFormat; shardBytes: number };
type Report = (phase: "hash" | "convert" | "compare", total: number) => (bytes: number) => void;

/** Writes tensors and small files, and reads them back. */
async function convertInto(
  folder: OutputFolder,
  { files, config, configBytes, tensors }: OpenedCheckpoint<unknown>,
  small: ReadonlyMap<string, Uint8Array>,
  { to, shardBytes, device, signal }: Settings,
  report: Report,
): Promise<TensorReport[]> {
  if (config.converted) {
    throw new EngineError("bad-input", `the checkpoint is in ${config.converted.format} already, only F32, F16 and BF16 can be converted`, {
      hint: "convert the original checkpoint, not one that was converted before",
    });
  }
  const sha256 = await hashes(
    files,
    report(
      "hash",
      files.files.reduce((sum, { size }) => sum + size, 0),
    ),
    signal,
  );
  const metadata = new Map([
    ["format", "pt"],
    ["converted_by", "internvl-webgpu"],
    ["converted_to", to],
    ["source_sha256", sha256],
    ["licence", files.metadata.get("licence") ?? LICENCES],
  ]);
  const gpu = await openGpu(device);
  try {
    const source = tensors(gpu, to);
    await convertTensors(gpu, { source, to, out: folder, metadata, shardBytes, signal, onBytes: report("convert", source.bytes) });
    for (const [name, content] of small) await writeWhole(folder, name, content);
    await writeWhole(folder, "config.json", convertedConfig(configBytes, to));
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

/**
 * Writes a checkpoint with its matrices in another format: a folder that `InternVL.load` takes like the original, with tokenizer and
 * configuration. It is read back and compared before the promise resolves; where anything fails, what was written is removed.
 *
 * @throws EngineError bad-input (an option; a folder that is not empty; a checkpoint that is quantised already), bad-weights (the original;
 * values that the format cannot hold; files that read back differently), limit-exceeded (no space), network, device errors, aborted
 */
export async function convertWeights(source: SourceLike, options: ConvertOptions): Promise<Conversion> {
  const from = checkSource(source);
  const {
    to,
    out,
    adapters: sources,
    shardBytes = SHARD_BYTES,
    device,
    signal,
    onProgress,
    ...hub
  } = readOptions("convertWeights", options, CONVERT);
  if (to === undefined) throw wrong("to", to, "a format: q4, q8, f16 or bf16");
  if (out === undefined) throw wrong("out", out, "a folder for the new checkpoint");
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
      const small = new Map<string, Uint8Array>();
      for (const name of SMALL_FILES) {
        const bytes = await readSmall(opened, name);
        if (bytes) small.set(name, bytes);
      }
      const settings = { to, shardBytes, device, signal };
      const tensors = await writeInto(folder, (into) => convertInto(into, checkpoint, small, settings, report));
      tell?.({ phase: "ready", loaded: 1, total: 1 });
      return { to, sourceBytes: bytesOf(checkpoint.files), bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0), tensors };
    } finally {
      await checkpoint.files.close();
    }
  });
}
