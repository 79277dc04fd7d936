import { existsSync } from "node:fs";
import { access, constants, type FileHandle, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EngineError } from "../../src/errors.ts";
import { quoted } from "../../src/options.ts";
import type { ByteSink } from "../../src/safetensors/index.ts";
import { fileError, isSystemError, onFile } from "./failures.ts";
import { alive } from "./lock.ts";

/** Makes a folder and those above it. Node's own `recursive` asks for ever where a file system takes no folders (/proc). */
async function makeFolders(path: string): Promise<void> {
  if (existsSync(path)) return;
  await makeFolders(dirname(path));
  await mkdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
}

/** Removes what runs left behind that were killed before they could. */
async function sweep(folder: string, prefix: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
    if (Number.isInteger(pid) && !alive(pid)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** @throws EngineError bad-input where there is something of this name already */
export function checkAbsent(out: string): void {
  if (out.trim() === "") throw new EngineError("bad-input", "--out is an empty text", { hint: "give a folder that does not exist" });
  if (existsSync(out))
    throw new EngineError("bad-input", `${quoted(out)} exists already`, { hint: "give a folder that does not exist, or remove it first" });
}

/**
 * Makes a folder that appears whole or not at all: `fill` writes into a hidden one beside it, which is renamed at the end. A run that
 * is killed leaves that hidden folder; the next run with this `out` removes it.
 *
 * @throws EngineError bad-input where `out` exists
 */
export async function createFolder<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(out);
  checkAbsent(out);
  const parent = dirname(target);
  const prefix = `.${basename(target)}.partial-`;
  const partial = join(parent, prefix + process.pid);
  try {
    await makeFolders(parent);
    await sweep(parent, prefix);
    await mkdir(partial);
  } catch (cause) {
    throw fileError(`make ${quoted(out)}`, cause);
  }
  try {
    const result = await fill(partial);
    checkAbsent(out);
    await rename(partial, target);
    return result;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (isSystemError(error)) throw fileError(`write ${quoted(out)}`, error);
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

/** Whether reports can be written as PREFIX.json and PREFIX.md: told before the work, not after it. @throws EngineError bad-input */
export async function checkPrefix(prefix: string | undefined): Promise<void> {
  if (prefix === undefined) return;
  const folder = dirname(prefix);
  await onFile("make", folder, makeFolders(resolve(folder)));
  await onFile("write into", folder, access(folder, constants.W_OK));
}

/** Writes a report for programs and one for people. */
export async function writeReport(prefix: string, json: string, markdown: string): Promise<void> {
  await onFile("write", `${prefix}.json`, writeFile(`${prefix}.json`, json));
  await onFile("write", `${prefix}.md`, writeFile(`${prefix}.md`, markdown));
}
