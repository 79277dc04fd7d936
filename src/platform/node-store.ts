import { createHash, randomBytes } from "node:crypto";
import { access, constants, type FileHandle, lstat, open, readdir, readFile, rename, rm, stat, statfs, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { badWeights, EngineError } from "../errors.ts";
import { codeOf, makeFolder, unlessMissing, unreadable, wordsOf } from "./files.ts";
import { lock } from "./node-lock.ts";
import { type FileStore, type FileWriter, MOST_TEXT, type Sha256, type StoreEntry } from "./store.ts";

/** SHA-256 by Node's own hash. */
export function nodeSha256(): Sha256 {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** Puts a rename or a new file on the medium. Windows has no such call for folders. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    const stats = await unlessMissing(stat(path));
    if (stats && (!stats.isFile() || stats.size > MOST_TEXT)) {
      const hint = "remove it: it belongs to a download, which starts anew then";
      throw badWeights(`${path} is ${stats.isFile() ? `a file of ${stats.size} bytes` : "no file"}, needs a short text`, hint);
    }
    return stats && (await unlessMissing(readFile(path, "utf8")));
  } catch (cause) {
    throw cause instanceof EngineError ? cause : unreadable("bad-weights", path, cause);
  }
}

type Checked = <T>(work: Promise<T>) => Promise<T>;

/** What the disk says no to, as this library's error with what to do; another error as it is. */
function diskError(cause: unknown, root: string, choice: string): unknown {
  if ((cause as NodeJS.ErrnoException).syscall === undefined) return cause; // the signal's
  const full = codeOf(cause) === "ENOSPC" || codeOf(cause) === "EDQUOT";
  return new EngineError(
    full ? "limit-exceeded" : "bad-input",
    `cannot write below ${root}: ${full ? "the disk is full" : wordsOf(cause)}`,
    {
      hint: full ? `free some space, or set ${choice} to a folder on a larger disk` : `set ${choice} to a folder that you may write`,
      cause,
    },
  );
}

async function append(path: string, keep: number, checked: Checked): Promise<FileWriter> {
  await makeFolder(dirname(path));
  const handle = await open(path, keep > 0 ? "r+" : "w");
  await handle.truncate(keep).catch(async (error) => {
    await handle.close();
    throw error;
  });
  let size = keep;
  return {
    async write(bytes) {
      await checked(writeAll(handle, bytes, size));
      size += bytes.length;
    },
    async clear() {
      await checked(handle.truncate(0));
      size = 0;
    },
    async close() {
      try {
        await checked(handle.sync());
      } finally {
        await handle.close();
      }
    },
  };
}

async function replace(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** A name beside `path` for what will replace it, in a folder that is there. */
async function temporaryFor(path: string): Promise<string> {
  await makeFolder(dirname(path));
  return `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
}

async function writeText(path: string, text: string): Promise<void> {
  const from = await temporaryFor(path);
  const handle = await open(from, "wx");
  try {
    await handle.writeFile(text);
    await handle.sync(); // before the rename: else a loss of power may leave the name with nothing behind it
  } finally {
    await handle.close();
  }
  await replace(from, path);
}

async function link(target: string, path: string): Promise<void> {
  const from = await temporaryFor(path);
  try {
    await symlink(relative(dirname(path), target), from);
  } catch (error) {
    // Windows without the right to make links: the file itself takes the place, as huggingface_hub does.
    if (codeOf(error) !== "EPERM" && codeOf(error) !== "ENOSYS") throw error;
    return replace(target, path);
  }
  await replace(from, path);
}

async function list(folder: string): Promise<StoreEntry[]> {
  const entries = (await unlessMissing(readdir(folder, { withFileTypes: true }))) ?? [];
  return Promise.all(
    entries.map(async (entry) => ({
      name: entry.name,
      kind: entry.isDirectory() ? ("folder" as const) : entry.isSymbolicLink() ? ("link" as const) : ("file" as const),
      bytes: entry.isFile() ? ((await unlessMissing(lstat(join(folder, entry.name))))?.size ?? 0) : 0,
    })),
  );
}

/** Whether a folder may be written; what is not there yet is made in the folder above. */
async function isWritable(folder: string): Promise<boolean> {
  const code = await access(folder, constants.W_OK).then(() => "", codeOf);
  return code === "ENOENT" && dirname(folder) !== folder ? isWritable(dirname(folder)) : code === "";
}

/** The folder `root` as a store; it is made when something is written. `choice`: what chooses another folder. */
export function nodeStore(
  root: string,
  choice: string,
  openFile: (folder: string, name: string) => ReturnType<FileStore["open"]>,
): FileStore {
  const at = (path: string): string => join(root, ...path.split("/"));
  const checked: Checked = (work) => work.catch((cause) => Promise.reject(diskError(cause, root, choice)));
  return {
    root,
    remedy: `free some space, or set ${choice} to another place`,
    list: (folder) => list(at(folder)).catch((cause) => Promise.reject(unreadable("bad-input", at(folder), cause))),
    removeFolder: (folder) => checked(rm(at(folder), { recursive: true, force: true })),
    open: (path) => openFile(root, path),
    readText: (path) => readText(at(path)),
    writeText: (path, text) => checked(writeText(at(path), text)),
    append: (path, keep) => checked(append(at(path), keep, checked)),
    rename: (from, to) => checked(makeFolder(dirname(at(to))).then(() => replace(at(from), at(to)))),
    remove: (path) => checked(rm(at(path), { force: true })),
    link: (target, path) => checked(link(at(target), at(path))),
    lock: (path, signal) => checked(lock(at(path), signal)),
    isWritable: () => isWritable(root),
    async space() {
      await checked(makeFolder(root));
      const { bavail, bsize } = await statfs(root);
      return bavail * bsize;
    },
  };
}
