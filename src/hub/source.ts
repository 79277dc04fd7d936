import { platform } from "#platform";
import { EngineError, late, throwIfAborted } from "../errors.ts";
import { has, quotedPath, reading, wrong } from "../options.ts";
import { lookedAt } from "./foreign.ts";
import { parseHubId } from "./hub-id.ts";
import { directorySource, filesSource } from "./source-files.ts";
import type { RemoteOptions } from "./source-remote.ts";
import { ADAPTER_FILES, hasFile, MODEL_FILES, type StagedSource, type WeightSource } from "./source-types.ts";

export { readSmall } from "./foreign.ts";
export type { HubOptions } from "./source-remote.ts";
export type { SourceProgress, StagedSource, WeightSource } from "./source-types.ts";

/**
 * What a checkpoint can be loaded from: a folder's path, the address of a folder of files (`https://host/folder`), a Hugging Face id
 * (`org/name`; a local folder of that name comes first), files, an opened folder, or anything that opens files by name.
 */
export type SourceLike = string | URL | WeightSource | FileSystemDirectoryHandle | Iterable<File> | ArrayLike<File>;

const isFile = (value: unknown): value is File => has(value, "name", "size", "slice");

const MOST_FILES = 100_000; // a generator may never end

/** Files, where `source` is a list of some kind. */
function filesOf(source: object): File[] | undefined {
  if (!(Symbol.iterator in source)) {
    const { length } = source as ArrayLike<unknown>;
    return Number.isSafeInteger(length) && length <= MOST_FILES ? filesOf(Array.from(source as ArrayLike<File>)) : undefined;
  }
  const files: File[] = [];
  for (const file of source as Iterable<unknown>) {
    if (!isFile(file) || files.length === MOST_FILES) return undefined;
    files.push(file);
  }
  return files.length > 0 ? files : undefined;
}

const SOURCE = "the model's source";

const wrongSource = (source: unknown, what = SOURCE): EngineError =>
  wrong(
    what,
    source,
    "a folder, an address or files",
    'give a folder\'s path, a URL, "org/name", File objects, a FileSystemDirectoryHandle, or an object with open(name)',
  );

/** Tells by its shape whether a model can come from a value; whether there is one is seen when it is opened. @throws EngineError bad-input */
export function checkSource(value: unknown, what = SOURCE): SourceLike {
  const known = reading(what, () => {
    if (typeof value === "string") return value.trim() !== "";
    if (typeof value !== "object" || value === null) return false;
    const { href, open, getFileHandle, length } = value as Record<string, unknown>;
    return (
      typeof href === "string" ||
      typeof open === "function" ||
      typeof getFileHandle === "function" ||
      Symbol.iterator in value ||
      typeof length === "number"
    );
  });
  if (!known) throw wrongSource(value, what);
  return value as SourceLike;
}

/** Told apart by shape, not by class: an object may come from another realm, or be a stand-in. */
function openObject(source: object): WeightSource | undefined {
  if (typeof (source as Partial<WeightSource>).open === "function") return source as WeightSource;
  if (typeof (source as Partial<FileSystemDirectoryHandle>).getFileHandle === "function") {
    return directorySource(source as FileSystemDirectoryHandle);
  }
  const files = filesOf(source);
  return files && filesSource(files);
}

function noFolder(path: string, kind: "file" | "nothing"): EngineError {
  const problem =
    kind === "file" ? `${quotedPath(path)} is a file, needs to be a model's folder` : `there is no folder ${quotedPath(path)}`;
  return new EngineError("bad-input", problem, {
    hint: "give the folder that holds config.json and the safetensors files, or a Hugging Face id such as OpenGVLab/InternVL2_5-1B, which is downloaded",
  });
}

async function openNamed(source: string, options: RemoteOptions, ranges: boolean): Promise<StagedSource> {
  const remote = () => late("what downloads models", import("./source-remote.ts")); // pages that bring their own files never download it
  if (/^https?:/i.test(source)) {
    const { openUrl, openUrlRanges } = await remote();
    return ranges ? openUrlRanges(source, options) : openUrl(source, options);
  }
  const path = /^file:/i.test(source) ? platform.pathOfUrl(source) : source;
  for (const folder of new Set([path, platform.expandHome(path)])) {
    const kind = await platform.pathKind(folder);
    if (kind === "folder") return { open: (name) => platform.openFile(folder, name) };
    if (kind === "file") throw noFolder(folder, kind);
  }
  const id = parseHubId(path);
  if (!id) throw noFolder(path, "nothing");
  const { openHub, openHubRanges } = await remote();
  return ranges ? openHubRanges(id, options) : openHub(id, options);
}

async function openAny(source: SourceLike, options: RemoteOptions, ranges: boolean): Promise<StagedSource> {
  checkSource(source);
  if (typeof source === "string") return openNamed(source, options, ranges);
  const opened = reading(SOURCE, () => {
    if (typeof (source as URL).href === "string") return (source as URL).href;
    return openObject(source);
  });
  if (opened === undefined) throw wrongSource(source);
  return typeof opened === "string" ? openNamed(opened, options, ranges) : opened;
}

const EVERY = 100; // ms between two reports of one phase

/** Reports no more often than a person can read: the first and the last of each phase, what has a note, and some between. */
export function seldom<T extends { phase: string; loaded: number; total: number; note?: string }>(
  report: (progress: T) => void,
  now: () => number = () => performance.now(),
): (progress: T) => void {
  let last: T | undefined;
  let pending: T | undefined;
  let at = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (progress) => {
    clearTimeout(timer);
    const begins = progress.phase !== last?.phase;
    if (begins && pending) report(pending);
    const ends = progress.loaded >= progress.total && progress.total === last?.total; // a total that grows is none yet
    const due = begins || ends || progress.note !== undefined || now() - at >= EVERY;
    last = progress;
    pending = due ? undefined : progress;
    if (!due) {
      // What came last is shown also where nothing comes after it.
      timer = setTimeout(() => {
        if (pending) report(pending);
        pending = undefined;
      }, EVERY);
      return;
    }
    at = now();
    report(progress);
  };
}

/**
 * The files of a checkpoint. What lies on a server stays there at first: small files are fetched into the cache when they are opened, and of
 * those with tensors only what is read, until `download` brings them all.
 *
 * @throws EngineError bad-input where there is no such folder, network, limit-exceeded (no space), bad-weights, aborted
 */
export async function openSource(source: SourceLike, options: RemoteOptions = {}): Promise<StagedSource> {
  const onProgress = options.onProgress && seldom(options.onProgress);
  onProgress?.({ phase: "resolve", loaded: 0, total: 1 });
  let opened: StagedSource;
  try {
    opened = await openAny(source, { ...options, onProgress }, false);
  } catch (error) {
    throwIfAborted(error instanceof EngineError ? undefined : options.signal);
    throw error;
  }
  if (!opened.download) onProgress?.({ phase: "resolve", loaded: 1, total: 1 });
  return lookedAt(opened, options.signal);
}

/**
 * The files of a checkpoint without downloading it: of what lies on a server only the ranges that are read are fetched (HTTP ranges),
 * and nothing is kept. For looking at headers.
 *
 * @throws EngineError as `openSource`
 */
export async function openRemotely(source: SourceLike, options: RemoteOptions = {}): Promise<WeightSource> {
  const opened = await openAny(source, options, true);
  const { has } = opened;
  return lookedAt({ open: (name) => opened.open(name), ...(has && { has: (name: string) => has.call(opened, name) }) }, options.signal);
}

/** The files of LoRA adapters. A revision is the model's, not theirs. @throws EngineError as `openAdapter` */
export async function openAdapters(sources: readonly SourceLike[] = [], options: RemoteOptions = {}): Promise<StagedSource[]> {
  const opened: StagedSource[] = [];
  for (const source of sources) opened.push(await openAdapter(source, { ...options, revision: undefined, onProgress: undefined }));
  return opened;
}

/** The files of a LoRA adapter, its tensors under the name that a model's have: whoever opens those opens these. @throws EngineError as `openSource` */
async function openAdapter(source: SourceLike, options: RemoteOptions = {}): Promise<StagedSource> {
  const opened = await openSource(source, { ...options, names: ADAPTER_FILES });
  const { config, single } = ADAPTER_FILES;
  const has = (name: string) => hasFile(opened, name);
  if (!(await has(config))) {
    const what = (await has(MODEL_FILES.config)) ? `${MODEL_FILES.config}: a whole model` : "no adapter_config.json";
    throw new EngineError("bad-weights", `the adapter's folder holds ${what}`, {
      hint: "give the folder that peft's save_pretrained wrote: adapter_config.json and adapter_model.safetensors",
    });
  }
  if (!(await has(single))) {
    const pickled = await has("adapter_model.bin");
    throw new EngineError(
      "bad-weights",
      `the adapter's folder holds ${pickled ? "adapter_model.bin alone (PyTorch's pickle)" : `no ${single}`}`,
      {
        hint: pickled
          ? "save it anew with peft: model.save_pretrained(DIR, safe_serialization=True)"
          : "fetch it, beside adapter_config.json",
      },
    );
  }
  const { download } = opened;
  return {
    open: async (name) => (name === MODEL_FILES.index ? undefined : opened.open(name === MODEL_FILES.single ? single : name)),
    ...(download && { download: () => download.call(opened) }),
  };
}
