import { createHash, randomBytes } from "node:crypto";
import {
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
import { homedir, hostname } from "node:os";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../errors.ts";
import type { FileStore, FileWriter, Sha256, StoreEntry } from "./store.ts";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

/** `undefined` in place of "there is no such file". */
async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** `~`, as the shell writes it, in a path from the environment. */
export const expandHome = (path: string): string => path.replace(/^~(?=$|[/\\])/, homedir());

export function nodeSha256(): Sha256 {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
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
  await mkdir(dirname(path), { recursive: true });
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

/** Errors of the disk as this library's, with what to do. */
async function asEngineError<T>(root: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const full = codeOf(cause) === "ENOSPC" || codeOf(cause) === "EDQUOT";
    if (!full && !["EACCES", "EPERM", "EROFS"].includes(codeOf(cause) ?? "")) throw cause;
    throw new EngineError(full ? "limit-exceeded" : "bad-input", `cannot write below ${root}: ${(cause as Error).message}`, {
      hint: full ? "free some space, or set HF_HOME to a folder on a larger disk" : "set HF_HOME to a folder that you may write",
      cause,
    });
  }
}

/** The folder `root` as a store; it is made when something is written. */
export function nodeStore(root: string, openFile: (folder: string, name: string) => ReturnType<FileStore["open"]>): FileStore {
  const at = (path: string): string => join(root, ...path.split("/"));
  const makeFolder = (path: string) => mkdir(dirname(at(path)), { recursive: true });

  async function append(path: string, keep: number): Promise<FileWriter> {
    await makeFolder(path);
    const handle = await open(at(path), keep > 0 ? "r+" : "w");
    await handle.truncate(keep);
    let size = keep;
    return {
      async write(bytes) {
        await asEngineError(root, writeAll(handle, bytes, size));
        size += bytes.length;
      },
      async clear() {
        await handle.truncate(0);
        size = 0;
      },
      async close() {
        try {
          await handle.sync();
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

  async function link(target: string, path: string): Promise<void> {
    await makeFolder(path);
    const temporary = `${at(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
    try {
      await symlink(relative(dirname(at(path)), at(target)), temporary);
    } catch (error) {
      // Windows without the right to make links: the file itself takes the place, as huggingface_hub does.
      if (codeOf(error) !== "EPERM" && codeOf(error) !== "ENOSYS") throw error;
      await replace(at(target), path);
      return;
    }
    await replace(temporary, path);
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
    remedy: "free some space, or choose another place: HF_HOME, or cacheDir",
    list,
    removeFolder: (folder) => asEngineError(root, rm(at(folder), { recursive: true, force: true })),
    open: (path) => openFile(root, path),
    readText: (path) => unlessMissing(readFile(at(path), "utf8")),
    writeText: (path, text) =>
      asEngineError(
        root,
        (async () => {
          await makeFolder(path);
          const temporary = `${at(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
          await writeFile(temporary, text);
          await replace(temporary, path);
        })(),
      ),
    append: (path, keep) => asEngineError(root, append(path, keep)),
    rename: (from, to) =>
      asEngineError(
        root,
        makeFolder(to).then(() => replace(at(from), to)),
      ),
    remove: (path) => rm(at(path), { force: true }),
    link: (target, path) => asEngineError(root, link(target, path)),
    lock: (path, signal) => asEngineError(root, lock(at(path), signal)),
    async space() {
      await asEngineError(root, mkdir(root, { recursive: true }));
      const { bavail, bsize } = await statfs(root);
      return bavail * bsize;
    },
  };
}
