import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { isRecord, quotedPath, type Reader, wrong } from "../options.ts";
import type { FileStore } from "../platform/store.ts";
import { directorySource } from "./source-files.ts";
import type { WeightSource } from "./source-types.ts";

/** A new file, written from front to back. */
export interface OutputFile {
  /** Appends; the bytes do not change afterwards. */
  write(bytes: Uint8Array): Promise<void>;
  /** Says that the file is whole. */
  close(): Promise<void>;
}

/** Where files are written to, and read back from: by that it is known that they have arrived. */
export interface OutputFolder extends WeightSource {
  /** A new, empty file. */
  create(name: string): Promise<OutputFile>;
  /** Removes a file of a job that failed. Without it such files stay. */
  remove?(name: string): Promise<void>;
}

/** A folder's path (in a page: one of the site's private file system), an opened folder, or anything that creates and opens files by name. */
export type OutputLike = string | OutputFolder | FileSystemDirectoryHandle;

const has = (value: object, ...names: string[]): boolean => names.every((name) => typeof (value as never)[name] === "function");

/** Tells by its shape whether files can be written to a value. */
export const output: Reader<OutputLike> = (value, name) => {
  const good =
    typeof value === "string"
      ? value.trim() !== ""
      : typeof value === "object" && value !== null && (has(value, "create", "open") || has(value, "getFileHandle", "removeEntry"));
  if (!good) {
    const hint = isRecord(value) ? "its files are read back: give it create(name) and open(name)" : undefined;
    throw wrong(name, value, "a folder's path, a FileSystemDirectoryHandle, or an object with create(name) and open(name)", hint);
  }
  return value as OutputLike;
};

const notEmpty = (what: string): EngineError =>
  new EngineError("bad-input", `${what} exists already, and is not empty`, {
    hint: "give a folder that does not exist, or remove it first",
  });

async function storeFolder(store: FileStore, path: string): Promise<OutputFolder> {
  if ((await platform.pathKind(path)) === "file")
    throw new EngineError("bad-input", `${quotedPath(path)} is a file, needs to be a folder`, {
      hint: "give a new folder, or an empty one",
    });
  if ((await store.list("")).length > 0) throw notEmpty(quotedPath(path));
  return {
    open: (name) => store.open(name),
    create: (name) => store.append(name, 0),
    remove: (name) => store.remove(name),
  };
}

async function handleFolder(folder: FileSystemDirectoryHandle): Promise<OutputFolder> {
  for await (const _ of folder.keys()) throw notEmpty("the chosen folder");
  return {
    open: directorySource(folder).open,
    async create(name) {
      const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
      return { write: (bytes) => stream.write(bytes as Uint8Array<ArrayBuffer>), close: () => stream.close() };
    },
    remove: (name) => folder.removeEntry(name),
  };
}

/**
 * Opens a folder that files are to be written to.
 *
 * @throws EngineError bad-input where something lies there already
 */
export async function openOutput(out: OutputLike): Promise<OutputFolder> {
  if (typeof out === "string") {
    const path = platform.expandHome(out);
    return storeFolder(await platform.openStore("out", path), path);
  }
  return "create" in out ? out : handleFolder(out);
}

/** Writes a whole file. */
export async function writeWhole(folder: OutputFolder, name: string, bytes: Uint8Array): Promise<void> {
  const file = await folder.create(name);
  try {
    await file.write(bytes);
  } finally {
    await file.close();
  }
}

/** Has `work` write into a folder and close its files; where it fails, they are removed again. */
export async function writeInto<T>(folder: OutputFolder, work: (folder: OutputFolder) => Promise<T>): Promise<T> {
  const created: string[] = [];
  const create = (name: string): Promise<OutputFile> => {
    created.push(name);
    return folder.create(name);
  };
  try {
    return await work({ open: (name) => folder.open(name), create });
  } catch (error) {
    await Promise.allSettled(created.map(async (name) => folder.remove?.(name))); // what went wrong first is what the caller hears
    throw error;
  }
}
