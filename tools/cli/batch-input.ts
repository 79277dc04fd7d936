import { createReadStream, createWriteStream, fstatSync, rmSync } from "node:fs";
import { type FileHandle, mkdtemp, open, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { EngineError } from "../../src/errors.ts";
import { quoted } from "../../src/options.ts";
import { fileError, onFile } from "./failures.ts";
import { interrupted } from "./interrupt.ts";
import { type Line, readLines } from "./lines.ts";

/** The lines of a batch, which can be gone through several times. */
export interface Input {
  /** What paths in it are relative to. */
  folder: string;
  /** Which file of which disk it is, where it is one: the same under every name. */
  identity: string | undefined;
  lines(): AsyncGenerator<Line>;
  close(): Promise<void>;
}

export const identityOf = ({ dev, ino }: { dev: number; ino: number }): string => `${dev}:${ino}`;

/** Windows' PowerShell writes UTF-16 where it redirects. */
function encodingOf(start: Uint8Array): "utf-16le" | "utf-16be" | "utf-8" {
  if (start[0] === 0xff && start[1] === 0xfe) return "utf-16le";
  return start[0] === 0xfe && start[1] === 0xff ? "utf-16be" : "utf-8";
}

/** Copies what comes into a file of our own, in UTF-8. */
async function spool(from: Readable, encoding?: string): Promise<{ handle: FileHandle; remove(): void }> {
  const folder = await mkdtemp(join(tmpdir(), "internvl-batch-"));
  const remove = () => {
    process.off("exit", remove);
    rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", remove);
  try {
    const path = join(folder, "input.jsonl");
    const decoder = encoding === undefined ? undefined : new TextDecoder(encoding);
    const text = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) yield decoder ? decoder.decode(chunk, { stream: true }) : chunk;
    };
    await pipeline(from, text, createWriteStream(path), { signal: interrupted });
    return { handle: await open(path), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

async function inputOf(given: string): Promise<{ handle: FileHandle; remove(): void; identity: string | undefined }> {
  if (given === "-") {
    const found = fstatSync(0);
    const { handle, remove } = await spool(process.stdin);
    return { handle, remove, identity: found.isFile() ? identityOf(found) : undefined };
  }
  const found = await stat(given);
  if (found.isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR", syscall: "read" });
  if (!found.isFile()) return { ...(await spool(createReadStream(given))), identity: undefined }; // a pipe is read once
  return { handle: await open(given), remove: () => {}, identity: identityOf(found) };
}

/**
 * Opens the input of a batch: a file, or `-` for stdin, which is read to its end first (into a file of our own, not into memory).
 *
 * @throws EngineError bad-input
 */
export async function openInput(given: string): Promise<Input> {
  let { handle, remove, identity } = await onFile("read", given, inputOf(given));
  const before = { handle, remove };
  try {
    const start = new Uint8Array(2);
    const { bytesRead } = await handle.read(start, 0, 2, 0);
    const encoding = encodingOf(start.subarray(0, bytesRead));
    if (encoding !== "utf-8") ({ handle, remove } = await spool(handle.createReadStream({ start: 0, autoClose: false }), encoding));
  } catch (error) {
    await handle.close();
    remove();
    throw error;
  }
  if (handle !== before.handle) {
    await before.handle.close();
    before.remove();
  }
  return {
    folder: given === "-" ? "." : dirname(given),
    identity,
    async *lines() {
      try {
        yield* readLines(handle);
      } catch (error) {
        if (error instanceof EngineError) throw error;
        throw fileError(`read ${quoted(given)}`, error);
      }
    },
    async close() {
      await handle.close();
      remove();
    },
  };
}
