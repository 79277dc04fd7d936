import { platform } from "#platform";
import { EngineError, throwIfAborted } from "../errors.ts";
import { quotedPath } from "../options.ts";
import { directorySource, filesSource } from "./source-files.ts";
import { openHub, openHubRanges, openUrl, openUrlRanges, parseHubId, type RemoteOptions } from "./source-remote.ts";
import type { WeightSource } from "./source-types.ts";

export type { HubOptions } from "./source-remote.ts";
export { readSmall, type SourceProgress, type WeightSource } from "./source-types.ts";

/**
 * What a checkpoint can be loaded from: a folder's path, the address of a folder of files (`https://host/folder`), a Hugging Face id
 * (`org/name`; a local folder of that name comes first), files, an opened folder, or anything that opens files by name.
 */
export type SourceLike = string | URL | WeightSource | FileSystemDirectoryHandle | Iterable<File> | ArrayLike<File>;

const has = (value: object, ...names: string[]): boolean => names.every((name) => name in value);
const isFile = (value: unknown): value is File => typeof value === "object" && value !== null && has(value, "name", "size", "slice");

/** Files, where `source` is a list of some kind. */
function filesOf(source: object): File[] | undefined {
  if (!(Symbol.iterator in source) && typeof (source as ArrayLike<unknown>).length !== "number") return undefined;
  const files = Array.from(source as Iterable<File> | ArrayLike<File>);
  return files.length > 0 && files.every(isFile) ? files : undefined;
}

function wrongSource(source: unknown): EngineError {
  const is = typeof source === "object" && source !== null ? "an object of another kind" : String(source);
  return new EngineError("bad-input", `the model's source is ${is}`, {
    hint: 'give a folder\'s path, a URL, "org/name", File objects, a FileSystemDirectoryHandle, or an object with open(name)',
  });
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

function noFolder(path: string): EngineError {
  return new EngineError("bad-input", `there is no folder ${quotedPath(path)}`, {
    hint: "give the folder that holds config.json and the safetensors files; see weights/README.md on getting one",
  });
}

async function openNamed(source: string, options: RemoteOptions, ranges: boolean): Promise<WeightSource> {
  if (/^https?:/i.test(source)) return ranges ? openUrlRanges(source, options) : openUrl(source, options);
  const path = /^file:/i.test(source) ? platform.pathOfUrl(source) : source;
  if (await platform.isFolder(path)) return { open: (name) => platform.openFile(path, name) };
  const id = parseHubId(path);
  if (!id) throw noFolder(path);
  return ranges ? openHubRanges(id, options) : openHub(id, options);
}

async function openAny(source: SourceLike, options: RemoteOptions, ranges: boolean): Promise<WeightSource> {
  if (typeof source === "string") return openNamed(source, options, ranges);
  if (typeof source !== "object" || source === null) throw wrongSource(source);
  if (has(source, "href", "protocol")) return openNamed((source as URL).href, options, ranges);
  const opened = openObject(source);
  if (!opened) throw wrongSource(source);
  return opened;
}

/**
 * The files of a checkpoint. What lies on a server is downloaded into the cache first, as far as it is not there yet.
 *
 * @throws EngineError bad-input where there is no such folder, network, limit-exceeded (no space), bad-weights, aborted
 */
export async function openSource(source: SourceLike, options: RemoteOptions = {}): Promise<WeightSource> {
  let resolved = false;
  const onProgress: RemoteOptions["onProgress"] = (progress) => {
    if (progress.phase === "resolve") resolved = true;
    options.onProgress?.(progress);
  };
  options.onProgress?.({ phase: "resolve", loaded: 0, total: 1 });
  let opened: WeightSource;
  try {
    opened = await openAny(source, { ...options, onProgress }, false);
  } catch (error) {
    throwIfAborted(error instanceof EngineError ? undefined : options.signal);
    throw error;
  }
  if (!resolved) options.onProgress?.({ phase: "resolve", loaded: 1, total: 1 });
  return opened;
}

/**
 * The files of a checkpoint without downloading it: of what lies on a server only the ranges that are read are fetched (HTTP ranges),
 * and nothing is kept. For looking at headers.
 *
 * @throws EngineError as `openSource`
 */
export function openRemotely(source: SourceLike, options: RemoteOptions = {}): Promise<WeightSource> {
  return openAny(source, options, true);
}
