import { createHash, randomBytes } from "node:crypto";
import {
  access,
  constants,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../errors.ts";
import { codeOf, unreadable, wordsOf } from "./files.ts";
import type { FileStore, FileWriter, Sha256, StoreEntry } from "./store.ts";

/** `undefined` in place of "there is no such file". */
async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

export function nodeSha256(): Sha256 {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** A folder and those above it. Node's own `recursive` never ends where a system refuses folders as if one above were missing (/proc). */
async function makeFolder(path: string): Promise<void> {
  for (const again of [true, false]) {
    try {
      return void (await mkdir(path));
    } catch (error) {
      if (codeOf(error) === "EEXIST") return;
      if (codeOf(error) !== "ENOENT" || !again || dirname(path) === path) throw error;
      await makeFolder(dirname(path));
    }
  }
}

// A lock holds this; its modification time is renewed while the holder lives.
interface Holder {
  pid: number;
  host: string;
}

const RENEW = 5_000; // ms between two signs of life
const STALE = 60_000; // ms of watching in vain for one, after which the holder counts as dead
const POLL = 200; // ms

/** Whether the lock's holder is known to be gone: a process of this machine that no longer runs. */
function isDead(text: string): boolean {
  let holder: Holder;
  try {
    holder = JSON.parse(text) as Holder;
  } catch {
    return false; // it is being written
  }
  if (holder.host !== hostname()) return false;
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH"; // EPERM: it lives, and is another user's
  }
}

/** Removes a lock that still holds `text`. Two processes may want to at once: only one at a time looks again and removes. */
async function breakLock(path: string, text: string): Promise<void> {
  const guard = `${path}.guard`;
  try {
    await (await open(guard, "wx")).close();
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    const other = await unlessMissing(stat(guard));
    if (other && Date.now() - other.mtimeMs > STALE) await rm(guard, { force: true });
    return;
  }
  try {
    if ((await unlessMissing(readFile(path, "utf8"))) === text) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

async function lock(path: string, signal?: AbortSignal): Promise<() => Promise<void>> {
  await makeFolder(dirname(path));
  // The random part tells two locks of one process apart.
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), nonce: randomBytes(8).toString("hex") });
  let sign = 0;
  let since = performance.now(); // this clock stands still while the machine sleeps: its holder is not to blame for that
  for (;;) {
    signal?.throwIfAborted();
    try {
      await writeFile(path, mine, { flag: "wx" });
      break;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const text = await unlessMissing(readFile(path, "utf8"));
    const found = await unlessMissing(stat(path));
    if (text === undefined || !found) continue; // released just now
    if (found.mtimeMs !== sign) {
      sign = found.mtimeMs;
      since = performance.now();
    }
    if (isDead(text) || performance.now() - since > STALE) await breakLock(path, text);
    else await sleep(POLL * (0.5 + Math.random()), undefined, signal ? { signal } : {});
  }
  const timer = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), RENEW);
  timer.unref();
  return async () => {
    clearInterval(timer);
    if ((await unlessMissing(readFile(path, "utf8"))) === mine) await rm(path, { force: true });
  };
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

/** What the store itself reads as a text, at most: a commit, or what a server said about a file. */
const MOST_TEXT = 2 ** 20; // bytes

async function readText(path: string): Promise<string | undefined> {
  try {
    const stats = await unlessMissing(stat(path));
    if (stats && (!stats.isFile() || stats.size > MOST_TEXT)) {
      throw new EngineError(
        "bad-weights",
        `${path} is ${stats.isFile() ? `a file of ${stats.size} bytes` : "no file"}, needs a short text`,
        { hint: "remove it: it belongs to a download, which starts anew then" },
      );
    }
    return stats && (await unlessMissing(readFile(path, "utf8")));
  } catch (cause) {
    throw cause instanceof EngineError ? cause : unreadable("bad-weights", path, cause);
  }
}

/** The folder `root` as a store; it is made when something is written. `choice`: what chooses another folder. */
export function nodeStore(
  root: string,
  choice: string,
  openFile: (folder: string, name: string) => ReturnType<FileStore["open"]>,
): FileStore {
  const at = (path: string): string => join(root, ...path.split("/"));
  const folderFor = (path: string) => makeFolder(dirname(at(path)));

  /** Errors of the disk as this library's, with what to do. */
  async function checked<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause; // the signal's
      const full = codeOf(cause) === "ENOSPC" || codeOf(cause) === "EDQUOT";
      throw new EngineError(
        full ? "limit-exceeded" : "bad-input",
        `cannot write below ${root}: ${full ? "the disk is full" : wordsOf(cause)}`,
        {
          hint: full ? `free some space, or set ${choice} to a folder on a larger disk` : `set ${choice} to a folder that you may write`,
          cause,
        },
      );
    }
  }

  async function append(path: string, keep: number): Promise<FileWriter> {
    await folderFor(path);
    const handle = await open(at(path), keep > 0 ? "r+" : "w");
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
    await rename(from, at(to));
    await syncFolder(dirname(at(to)));
  }

  const temporary = (path: string): string => `${at(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;

  async function writeText(path: string, text: string): Promise<void> {
    await folderFor(path);
    const from = temporary(path);
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
    await folderFor(path);
    const from = temporary(path);
    try {
      await symlink(relative(dirname(at(path)), at(target)), from);
    } catch (error) {
      // Windows without the right to make links: the file itself takes the place, as huggingface_hub does.
      if (codeOf(error) !== "EPERM" && codeOf(error) !== "ENOSYS") throw error;
      await replace(at(target), path);
      return;
    }
    await replace(from, path);
  }

  async function list(folder: string): Promise<StoreEntry[]> {
    const entries = (await unlessMissing(readdir(at(folder), { withFileTypes: true }))) ?? [];
    return Promise.all(
      entries.map(async (entry) => ({
        name: entry.name,
        kind: entry.isDirectory() ? ("folder" as const) : entry.isSymbolicLink() ? ("link" as const) : ("file" as const),
        bytes: entry.isFile() ? ((await unlessMissing(lstat(join(at(folder), entry.name))))?.size ?? 0) : 0,
      })),
    );
  }

  return {
    root,
    remedy: `free some space, or set ${choice} to another place`,
    list: (folder) => list(folder).catch((cause) => Promise.reject(unreadable("bad-input", at(folder), cause))),
    removeFolder: (folder) => checked(rm(at(folder), { recursive: true, force: true })),
    open: (path) => openFile(root, path),
    readText: (path) => readText(at(path)),
    writeText: (path, text) => checked(writeText(path, text)),
    append: (path, keep) => checked(append(path, keep)),
    rename: (from, to) => checked(folderFor(to).then(() => replace(at(from), to))),
    remove: (path) => checked(rm(at(path), { force: true })),
    link: (target, path) => checked(link(target, path)),
    lock: (path, signal) => checked(lock(at(path), signal)),
    async isWritable() {
      for (let path = root; ; path = dirname(path)) {
        const code = await access(path, constants.W_OK).then(
          () => "",
          (error) => codeOf(error),
        );
        if (code !== "ENOENT" || dirname(path) === path) return code === ""; // what is not there yet is made in the folder above
      }
    },
    async space() {
      await checked(makeFolder(root));
      const { bavail, bsize } = await statfs(root);
      return bavail * bsize;
    },
  };
}
