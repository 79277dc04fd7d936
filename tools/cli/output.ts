import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EngineError } from "../../src/errors.ts";
import type { ByteSink } from "../../src/safetensors/index.ts";

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
};

/** Removes what runs left behind that were killed before they could. */
async function sweep(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
    if (Number.isInteger(pid) && !alive(pid)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * Makes a folder that appears whole or not at all: `fill` writes into a hidden one beside it, which is renamed at the end. A run that
 * is killed leaves that hidden folder; the next run with this `out` removes it.
 *
 * @throws EngineError bad-input where `out` exists
 */
export async function createFolder<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(out);
  const refuse = () =>
    new EngineError("bad-input", `${JSON.stringify(out)} exists already`, {
      hint: "give a folder that does not exist, or remove it first",
    });
  if (existsSync(target)) throw refuse();
  const parent = dirname(target);
  const prefix = `.${basename(target)}.partial-`;
  const partial = join(parent, prefix + process.pid);
  try {
    await mkdir(parent, { recursive: true });
    await sweep(parent, prefix);
    await mkdir(partial);
  } catch (cause) {
    throw new EngineError("bad-input", `cannot make ${JSON.stringify(out)}: ${(cause as Error).message}`, {
      hint: "check the path and its rights",
      cause,
    });
  }
  try {
    const result = await fill(partial);
    if (existsSync(target)) throw refuse();
    await rename(partial, target);
    return result;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") {
      throw new EngineError("bad-input", `no space left for ${JSON.stringify(out)}`, {
        hint: "free some space, or give another disk",
        cause: error,
      });
    }
    throw error;
  }
}

/** A new file, written in order; a write goes on while the next bytes are made. The bytes must not change afterwards. */
export async function createFile(folder: string, name: string): Promise<ByteSink & { close(): Promise<void> }> {
  const handle: FileHandle = await open(join(folder, name), "wx");
  let pending: Promise<unknown> = Promise.resolve();
  const writeFully = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
  };
  return {
    async write(bytes) {
      await pending;
      pending = writeFully(bytes);
      pending.catch(() => {}); // told by the next write, or by close
    },
    async close() {
      try {
        await pending;
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
  };
}
