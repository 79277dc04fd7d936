import { EngineError, late, throwIfAborted } from "../errors.ts";
import { has, reading, wrong } from "../options.ts";
import { lookedAt } from "./foreign.ts";
import { directorySource, filesSource } from "./source-files.ts";
import type { RemoteOptions } from "./source-remote.ts";
import type { StagedSource, WeightSource } from "./source-types.ts";

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

async function openAny(source: SourceLike, options: RemoteOptions, ranges: boolean): Promise<StagedSource> {
  checkSource(source);
  // Pages that bring their own files never download it.
  const named = async (name: string) =>
    (await late("what opens models by name", import("./source-named.ts"))).openNamed(name, options, ranges);
  if (typeof source === "string") return named(source);
  const opened = reading(SOURCE, () => {
    if (typeof (source as URL).href === "string") return (source as URL).href;
    return openObject(source);
  });
  if (opened === undefined) throw wrongSource(source);
  return typeof opened === "string" ? named(opened) : opened;
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
  const { has, list } = opened;
  const asked = { ...(has && { has: (name: string) => has.call(opened, name) }), ...(list && { list: () => list.call(opened) }) };
  return lookedAt({ open: (name) => opened.open(name), ...asked }, options.signal);
}
