import { badWeights, EngineError } from "../errors.ts";
import { blobSource } from "./blob-source.ts";
import { type FileStore, type FileWriter, MOST_TEXT, type StoreEntry } from "./store.ts";

// The origin private file system has no links: a file NAME.link holds the path of the file it stands for.
const LINK = ".link";
/** Links that lead to links; ours lead to files. */
const MOST_LINKS = 8;

/** What TypeScript's DOM library lacks. `move` renames within the private file system (every browser with WebGPU has it). */
interface PrivateFile extends FileSystemFileHandle {
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
  createSyncAccessHandle?(): Promise<SyncAccess>;
}

interface SyncAccess {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

const isNamed = (error: unknown, ...names: string[]): boolean => names.includes((error as Error | undefined)?.name ?? "");

const unlessMissing = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error) => (isNamed(error, "NotFoundError") ? undefined : Promise.reject(error)));

const REMEDY = "delete models that are kept here, clear the site's data, or free disk space";

function asEngineError(cause: unknown, path: string): unknown {
  if (cause instanceof EngineError) return cause;
  if (isNamed(cause, "QuotaExceededError")) {
    return new EngineError("limit-exceeded", "the browser's storage for this site is full", { hint: REMEDY, cause });
  }
  return badWeights(`${path} in the browser's storage: ${String((cause as Error).message).slice(0, 200)}`, REMEDY, cause);
}

/** What the browser throws, as this library's error. */
const checked = <T>(path: string, work: Promise<T>): Promise<T> => work.catch((cause) => Promise.reject(asEngineError(cause, path)));

/** A file that somebody writes to has a lock on it. */
function inUse(folder: string, cause: unknown): unknown {
  if (!isNamed(cause, "NoModificationAllowedError", "InvalidModificationError")) return cause;
  return new EngineError("bad-input", `${folder} is being used, perhaps by another tab`, { hint: "stop the download there first", cause });
}

/** In a worker: writes go to the file at once, so that a crash loses nothing that was written. */
async function syncWriter(access: SyncAccess, path: string, keep: number): Promise<FileWriter> {
  let size = keep;
  access.truncate(keep);
  return {
    async write(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) done += access.write(bytes.subarray(done), { at: size + done });
      } catch (error) {
        throw asEngineError(error, path);
      }
      size += bytes.length;
    },
    async clear() {
      access.truncate(0);
      size = 0;
    },
    async close() {
      access.flush();
      access.close();
    },
  };
}

/** In a page: the browser writes to a copy, and close() puts it in the file's place. */
async function streamWriter(handle: FileSystemFileHandle, path: string, keep: number): Promise<FileWriter> {
  const stream = await handle.createWritable({ keepExistingData: keep > 0 });
  await stream.truncate(keep);
  await stream.seek(keep);
  return {
    async write(bytes) {
      await checked(path, stream.write(bytes as Uint8Array<ArrayBuffer>));
    },
    async clear() {
      await stream.truncate(0);
      await stream.seek(0);
    },
    close: () => checked(path, stream.close()),
  };
}

/** Where a file or a folder lies in the origin private file system. @param create whether folders on the way there are made */
async function placeOf(path: string, create: boolean): Promise<{ folder: FileSystemDirectoryHandle; name: string }> {
  const parts = path.split("/").filter(Boolean);
  const name = parts.pop()!;
  if (!navigator.storage?.getDirectory) {
    const hint = "open the page over https or on localhost, not in a private window";
    throw new EngineError("missing-feature", "this browser keeps no files for this page (navigator.storage is missing)", { hint });
  }
  let folder = await navigator.storage.getDirectory();
  for (const part of parts) folder = await folder.getDirectoryHandle(part, { create });
  return { folder, name };
}

async function handleOf(path: string, create: boolean): Promise<PrivateFile> {
  const { folder, name } = await placeOf(path, create);
  return folder.getFileHandle(name, { create });
}

const fileOf = async (path: string): Promise<File | undefined> => (await unlessMissing(handleOf(path, false)))?.getFile();

async function rename(from: string, to: string): Promise<void> {
  const handle = await handleOf(from, false);
  if (!handle.move) {
    const hint = "use a current Chrome, Edge, Safari or Firefox";
    throw new EngineError("missing-feature", "this browser cannot rename stored files (FileSystemFileHandle.move is missing)", { hint });
  }
  const { folder, name } = await placeOf(to, true);
  await handle.move(folder, name);
}

async function list(path: string): Promise<StoreEntry[]> {
  const { folder } = (await unlessMissing(placeOf(`${path}/_`, false))) ?? {};
  const entries: StoreEntry[] = [];
  for await (const [name, handle] of folder?.entries() ?? []) {
    if (handle.kind === "directory") entries.push({ name, kind: "folder", bytes: 0 });
    else if (name.endsWith(LINK)) entries.push({ name: name.slice(0, -LINK.length), kind: "link", bytes: 0 });
    else entries.push({ name, kind: "file", bytes: (await (handle as FileSystemFileHandle).getFile()).size });
  }
  return entries;
}

const remove = (path: string, options?: FileSystemRemoveOptions): Promise<void> =>
  unlessMissing(placeOf(path, false).then(({ folder, name }) => folder.removeEntry(name, options)));

const lock = (path: string, signal: AbortSignal | undefined): ReturnType<FileStore["lock"]> =>
  new Promise((fulfil, reject) => {
    const held = () => new Promise<void>((release) => fulfil(async () => release()));
    navigator.locks.request(path, signal ? { signal } : {}, held).catch(reject);
  });

async function space(): Promise<number | undefined> {
  // Otherwise the browser may delete the files when it runs short. A refusal is not a failure; workers cannot ask.
  await navigator.storage.persist?.();
  const { quota, usage } = await navigator.storage.estimate();
  return quota === undefined ? undefined : quota - (usage ?? 0);
}

/** The folder `root` of the origin private file system. */
export function webStore(root: string): FileStore {
  const at = (path: string): string => `${root}/${path}`;

  async function open(path: string, links = 0): ReturnType<FileStore["open"]> {
    const file = await fileOf(at(path));
    if (file) return blobSource(path.split("/").at(-1)!, file);
    const target = await readText(path + LINK);
    if (target === undefined) return undefined;
    if (links === MOST_LINKS) throw badWeights(`${at(path)}: links lead round in a circle`, REMEDY);
    return open(target, links + 1);
  }

  async function readText(path: string): Promise<string | undefined> {
    const file = await fileOf(at(path));
    if (file && file.size > MOST_TEXT) {
      throw badWeights(`${path} in the browser's storage has ${file.size} bytes, needs a short text`, REMEDY);
    }
    return file?.text();
  }

  async function append(path: string, keep: number): Promise<FileWriter> {
    const handle = await handleOf(at(path), true);
    const access = await handle.createSyncAccessHandle?.(); // workers only
    return access ? syncWriter(access, path, keep) : streamWriter(handle, path, keep);
  }

  async function writeText(path: string, text: string): Promise<void> {
    const writer = await streamWriter(await handleOf(at(path), true), path, 0); // replaces the file as a whole when it closes
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  }

  return {
    root: "the browser's storage",
    remedy: REMEDY,
    list: (folder) => list(at(folder)),
    removeFolder: (folder) => remove(at(folder), { recursive: true }).catch((cause) => Promise.reject(inUse(folder, cause))),
    open: (path) => checked(path, open(path)),
    readText: (path) => checked(path, readText(path)),
    writeText: (path, text) => checked(path, writeText(path, text)),
    append: (path, keep) => checked(path, append(path, keep)),
    rename: (from, to) => checked(from, rename(at(from), at(to))),
    remove: (path) => remove(at(path)),
    link: (target, path) => checked(path, writeText(path + LINK, target)),
    lock: (path, signal) => lock(at(path), signal),
    isWritable: async () => true,
    space,
  };
}
