import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { badWeights, EngineError, type ErrorCode } from "../errors.ts";
import { quoted, quotedPath, sizeText } from "../options.ts";
import type { ByteSource } from "../safetensors/types.ts";

/** What a system error means. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder, needs to be a file",
  ELOOP: "links lead round in a circle",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "there is no such file",
  ENOTDIR: "a part of the path is a file and no folder",
  ENXIO: "it is a socket or a device, needs to be a file",
  EPERM: "permission denied",
  EROFS: "the disk is read-only",
};

/** The code of Node's error (`ENOENT`, …); empty where it has none. */
export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? "";

/** `undefined` in place of "there is no such file". */
export const unlessMissing = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error) => (["ENOENT", "ENOTDIR"].includes(codeOf(error)) ? undefined : Promise.reject(error)));

/** A system error in a few words. */
export const wordsOf = (error: unknown): string => WORDS[codeOf(error)] ?? String((error as Error).message).slice(0, 200);

/** A system error as this library's. */
export function unreadable(code: ErrorCode, path: string, cause: unknown): EngineError {
  const hint = "check the path and the file's rights";
  return new EngineError(code, `cannot read ${quotedPath(path)}: ${wordsOf(cause)}`, { hint, cause });
}

/** A folder and those above it. Node's own `recursive` never ends where a system refuses folders as if one above were missing (/proc). */
export async function makeFolder(path: string): Promise<void> {
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

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a pipe";
  return stats.isSocket() ? "a socket" : "a device";
}

// A pipe that nobody writes to would hold `open` for ever, and a thread of Node's with it.
const MODE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0); // Windows has no such flag, and no such files

const READ = 64 * 2 ** 20; // bytes: 2 GiB at once abort Node

/** FileHandle.read may return less than asked: this loops until all is here. */
async function readFully(handle: FileHandle, path: string, offset: number, into: Uint8Array): Promise<void> {
  let filled = 0;
  while (filled < into.length) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await handle.read(into, filled, Math.min(READ, into.length - filled), offset + filled));
    } catch (cause) {
      throw unreadable("bad-weights", path, cause);
    }
    if (bytesRead === 0) {
      const hint = "the file is truncated: fetch it again";
      throw badWeights(`${quotedPath(path)}: the file ended at byte ${offset + filled}, ${into.length - filled} bytes short`, hint);
    }
    filled += bytesRead;
  }
}

/** Opens a file below a folder; `undefined` where there is none. @throws EngineError bad-weights for whatever else cannot be read */
export async function openFile(folder: string, name: string): Promise<ByteSource | undefined> {
  const path = join(folder, name);
  let handle: FileHandle;
  try {
    handle = await open(path, MODE);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw unreadable("bad-weights", path, cause);
  }
  let size: number;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw badWeights(`${quotedPath(path)} is ${kindOf(stats)}, needs to be a file`, "check the model's folder");
    ({ size } = stats);
  } catch (cause) {
    await handle.close();
    throw cause instanceof EngineError ? cause : unreadable("bad-weights", path, cause);
  }
  return {
    name,
    size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      const bytes = new Uint8Array(length);
      await readFully(handle, path, offset, bytes);
      return bytes;
    },
    async readInto(offset, into, signal) {
      signal?.throwIfAborted();
      await readFully(handle, path, offset, into);
    },
    close: () => handle.close(),
  };
}

/** The most that `readFile` takes by default: twice what the largest picture can have that is decoded. */
const MOST = 2 ** 30; // bytes

const FIRST_BYTE = 3_000; // ms until a pipe's writer must have begun
const NEXT_BYTE = 30_000; // ms between two of its writes
const POLL = 20; // ms

/** Reads to the end, also a pipe's: its length is not known before, and it may have nothing to give yet. */
async function readToEnd(handle: FileHandle, path: string, isPipe: boolean, maxBytes: number): Promise<Uint8Array> {
  const tooLong = () =>
    new EngineError("limit-exceeded", `${quotedPath(path)} has more than ${sizeText(maxBytes)}, which is the limit`, {
      hint: "check that it is the right file",
    });
  const pieces: Uint8Array[] = [];
  let have = 0;
  let waited = 0;
  for (;;) {
    const piece = new Uint8Array(isPipe ? 2 ** 16 : 2 ** 22);
    const bytes = await handle.read(piece, 0, piece.length, isPipe ? null : have).then(
      ({ bytesRead }) => bytesRead,
      (error) => {
        if (codeOf(error) === "EAGAIN") return undefined; // nothing yet
        throw unreadable("bad-input", path, error);
      },
    );
    if (bytes) {
      have += bytes;
      waited = 0;
      pieces.push(piece.subarray(0, bytes));
      if (have > maxBytes) throw tooLong();
    } else if (!isPipe || (bytes === 0 && have > 0)) return Buffer.concat(pieces);
    else if ((waited += POLL) > (have === 0 && bytes === 0 ? FIRST_BYTE : NEXT_BYTE)) {
      const hint = "check the path";
      throw new EngineError("bad-input", `cannot read ${quotedPath(path)}: it is a pipe, and nobody writes to it`, { hint });
    } else await sleep(POLL);
  }
}

/** The bytes of a local file or of a pipe. @throws EngineError bad-input, limit-exceeded where it has more than `maxBytes` */
export async function readFile(path: string, maxBytes = MOST): Promise<Uint8Array> {
  let handle: FileHandle;
  try {
    handle = await open(path, MODE);
  } catch (cause) {
    throw unreadable("bad-input", path, cause);
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile() && !stats.isFIFO()) {
      const hint = "check the path";
      throw new EngineError("bad-input", `cannot read ${quotedPath(path)}: it is ${kindOf(stats)}, needs to be a file`, { hint });
    }
    if (stats.size > maxBytes) {
      throw new EngineError("limit-exceeded", `${quotedPath(path)} has ${sizeText(stats.size)}, the limit is ${sizeText(maxBytes)}`, {
        hint: "check that it is the right file",
      });
    }
    return await readToEnd(handle, path, stats.isFIFO(), maxBytes);
  } finally {
    await handle.close();
  }
}

/** What lies at a path. @throws EngineError bad-input where that cannot be told */
export async function pathKind(path: string): Promise<"folder" | "file" | "nothing"> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch (cause) {
    // A name that no system takes names nothing.
    if (["ENOENT", "ENOTDIR", "ENAMETOOLONG", "ERR_INVALID_ARG_VALUE"].includes(codeOf(cause))) return "nothing";
    throw unreadable("bad-input", path, cause);
  }
}

/** `~`, as the shell writes it, in a path that no shell has read. */
export const expandHome = (path: string): string => path.replace(/^~(?=$|[/\\])/, homedir());

/** The path that a `file:` URL names, by the rules of this system or of the other. @throws EngineError bad-input */
export function pathOfUrl(url: string, windows = process.platform === "win32"): string {
  try {
    return fileURLToPath(url, { windows } as object); // Node's types of version 20 lack the option
  } catch (cause) {
    const hint = `give the path itself, or write ${windows ? "file:///C:/folder" : "file:///folder, with three slashes"}`;
    throw new EngineError("bad-input", `${quoted(url)} names no local path: ${(cause as Error).message}`, { hint, cause });
  }
}
