import { platform } from "#platform";
import { badWeights, EngineError } from "../errors.ts";
import { asBadWeights } from "../hub/open.ts";
import { checkSource, type HubOptions, openRemotely, readSmall, type SourceLike, seldom, type WeightSource } from "../hub/source.ts";
import { checkTensors } from "../model/check-tensors.ts";
import type { ModelConfig } from "../model/config.ts";
import { type MemoryNeed, memoryNeed, usualContext } from "../model/memory.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../model/open-checkpoint.ts";
import { MODELS } from "../model/published.ts";
import { resolve } from "../model/resolve.ts";
import { mostTiles } from "../model/steps.ts";
import { isHead } from "../model/tensors.ts";
import { callback, readOptions } from "../options.ts";
import { type Checkpoint, readPieces } from "../safetensors/index.ts";
import { elementsOf, type MatrixDtype } from "../tensor/tensor.ts";
import { loadTokenizer, structuralIds } from "../text/tokenizer.ts";
import { countNonFinite } from "../weights/finite.ts";
import { candidates } from "../weights/fit.ts";
import { CODES, PLAIN, SCALES_SUFFIX, storedFormat } from "../weights/formats.ts";
import { type StoredShape, tensorBytes } from "../weights/tensor-source.ts";
import { abortable } from "./aborting.ts";
import { SOURCE } from "./accept-load.ts";

/** Where the checkpoint comes from, and how to end it. */
export interface InspectOptions extends HubOptions {
  signal?: AbortSignal | undefined;
}

/** As `InspectOptions`, and who hears how far it is. */
export interface VerifyOptions extends InspectOptions {
  /** Bytes read so far, of all. */
  onProgress?: ((progress: { loaded: number; total: number }) => void) | undefined;
}

/** What a checkpoint holds. */
export interface Inspection {
  config: ModelConfig;
  /** The published models that are of its kind; undefined where none is, though it may run. */
  family: string | undefined;
  /** Whether it loads, as far as configuration, tokenizer files and headers tell; `problem` says why not, and what to take. */
  runs: boolean;
  problem?: string | undefined;
  /** Elements of all tensors; a quantised matrix counts as what it stands for. */
  parameters: number;
  /** Bytes on the GPU while it answers one question of `context` tokens, by how the matrices are held: as `weights: "auto"` would try them. */
  memory: { context: number; formats: Partial<Record<MatrixDtype, MemoryNeed>> };
  /** Whether the head is the embedding. */
  tied: boolean;
  files: { name: string; bytes: number }[];
  totals: { tensors: number; bytes: number; dtypes: Record<string, { tensors: number; bytes: number }> };
  tensors: { name: string; dtype: string; shape: readonly number[]; bytes: number; shard: string }[];
  /** `__metadata__` of the files. */
  metadata: Record<string, string>;
}

/** What has been read and found right. */
export interface Verified {
  files: number;
  tensors: number;
  bytes: number;
}

/** Elements that a tensor stands for. */
function parametersOf(name: string, { dtype, shape }: StoredShape, shapes: ReadonlyMap<string, StoredShape>): number {
  const elements = elementsOf(shape);
  const scales = name.endsWith(SCALES_SUFFIX) && CODES[shapes.get(name.slice(0, -SCALES_SUFFIX.length))?.dtype ?? ""];
  return scales ? 0 : elements * (dtype === "U8" && shapes.has(name + SCALES_SUFFIX) ? 2 : 1);
}

/** Why an open checkpoint does not load, by its small files and headers. */
async function problemOf(source: WeightSource, { config, files }: OpenedCheckpoint<unknown>): Promise<string | undefined> {
  try {
    structuralIds(await loadTokenizer((name) => readSmall(source, name), config.language.vocabSize, config.layout), config);
    checkTensors(config, resolve(config, files).shapes);
    return undefined;
  } catch (error) {
    if (error instanceof EngineError && error.code === "bad-weights") return `${error.message}${error.hint ? ` (${error.hint})` : ""}`;
    throw error;
  }
}

const familyOf = ({ layout, language, template }: ModelConfig): string | undefined =>
  MODELS.find((each) => each.layout === layout && each.decoder === language.architecture && each.templates.includes(template))?.models;

/** What an open checkpoint holds, by its headers. */
export async function inspection(source: WeightSource, opened: OpenedCheckpoint<unknown>): Promise<Inspection> {
  const { config, files, shapes } = opened;
  const problem = await problemOf(source, opened);
  const entries = [...files.tensors.values()];
  const tensors = entries.map(({ info, source }) => ({
    name: info.name,
    dtype: info.dtype,
    shape: info.shape,
    bytes: info.end - info.begin,
    shard: source.name,
  }));
  const dtypes: Inspection["totals"]["dtypes"] = {};
  for (const { dtype, bytes } of tensors) {
    const entry = (dtypes[dtype] ??= { tensors: 0, bytes: 0 });
    entry.tensors++;
    entry.bytes += bytes;
  }
  const stored = { names: () => shapes.keys(), get: (name: string) => shapes.get(name) };
  const formats = candidates(storedFormat(stored), config.packed !== undefined);
  return {
    config,
    family: familyOf(config),
    memory: {
      context: usualContext(config.language),
      formats: Object.fromEntries(formats.map((format) => [format, memoryNeed(config, stored, format, mostTiles(platform))])),
    },
    runs: problem === undefined,
    problem,
    parameters: [...shapes].reduce((sum, [name, shape]) => sum + parametersOf(name, shape, shapes), 0),
    tied: ![...shapes.keys()].some(isHead),
    files: files.files.map(({ name, size }) => ({ name, bytes: size })),
    totals: { tensors: tensors.length, bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0), dtypes },
    tensors,
    metadata: Object.fromEntries(files.metadata),
  };
}

const MOST_TOLD = 5;

/** Reads every byte of an open checkpoint. @throws EngineError bad-weights naming tensors with elements that are infinite or no number */
export async function verifyValues(
  { tensors, files }: Checkpoint,
  { signal, onProgress }: Pick<VerifyOptions, "signal" | "onProgress">,
): Promise<Verified> {
  const total = tensorBytes(tensors);
  const problems: string[] = [];
  let loaded = 0;
  for (const [name, entry] of tensors) {
    const dtype = PLAIN[entry.info.dtype];
    let count = 0;
    await asBadWeights(async () => {
      for await (const { bytes } of readPieces(entry, signal ? { signal } : {})) {
        if (dtype) count += countNonFinite(bytes, dtype);
        onProgress?.({ loaded: (loaded += bytes.length), total });
      }
    });
    if (count > 0) problems.push(`tensor "${name}" holds ${count} infinities or NaN`);
  }
  if (problems.length === 0) return { files: files.length, tensors: tensors.size, bytes: total };
  const several = problems.length === 1 ? "" : `${problems.length} problems: `;
  const more = problems.length > MOST_TOLD ? "; …" : "";
  const hint = "the files are damaged, or were saved by a training that diverged: fetch them again";
  throw badWeights(several + problems.slice(0, MOST_TOLD).join("; ") + more, hint);
}

/**
 * Tells what a checkpoint holds from config.json and the headers alone: of what lies on a server only those bytes are fetched.
 *
 * @throws EngineError bad-input, network, bad-weights where configuration, headers or index are not as they should be, aborted
 *
 * @example
 * ```ts
 * const { runs, problem, parameters } = await inspect("OpenGVLab/InternVL2_5-1B", { revision: "main" });
 * ```
 */
export async function inspect(source: SourceLike, options?: InspectOptions): Promise<Inspection> {
  const from = checkSource(source);
  const given = readOptions("inspect", options, SOURCE);
  return abortable(given.signal, async () => {
    const opening = await openRemotely(from, given);
    const opened = await openCheckpoint(opening, { signal: given.signal, check: "none" });
    try {
      return await inspection(opening, opened);
    } finally {
      await opened.files.close();
    }
  });
}

/**
 * Checks a checkpoint: every rule of the format in every file, that its tensors are those that config.json asks for and no others, and every
 * byte, for infinities and NaN. Nothing of it is kept.
 *
 * @throws EngineError as `inspect`; bad-weights saying what is wrong
 *
 * @example
 * ```ts
 * const { tensors } = await verify("OpenGVLab/InternVL2_5-1B", { onProgress: ({ loaded, total }) => show("verify", loaded / total) });
 * ```
 */
export async function verify(source: SourceLike, options?: VerifyOptions): Promise<Verified> {
  const from = checkSource(source);
  const shape = { ...SOURCE, onProgress: callback<NonNullable<VerifyOptions["onProgress"]>>() };
  const { onProgress, ...hub } = readOptions("verify", options, shape);
  const tell = onProgress && seldom<{ phase: string; loaded: number; total: number }>(({ loaded, total }) => onProgress({ loaded, total }));
  return abortable(hub.signal, async () => {
    const { files } = await openCheckpoint(await openRemotely(from, hub), { signal: hub.signal, check: "all" });
    try {
      return await verifyValues(files, { signal: hub.signal, onProgress: tell && ((now) => tell({ phase: "verify", ...now })) });
    } finally {
      await files.close();
    }
  });
}
