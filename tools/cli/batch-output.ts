import { createWriteStream } from "node:fs";
import { access, constants, type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../../src/errors.ts";
import { quoted } from "../../src/options.ts";
import { identityOf } from "./batch-input.ts";
import { type Id, isId, keyOf } from "./batch-line.ts";
import { fileError, onFile } from "./failures.ts";
import { readLines } from "./lines.ts";
import { lock } from "./lock.ts";

/** A conversation that an earlier run has answered. */
export interface Answered {
  id: Id;
  /** What was asked, as `readLine` hashes it; rows of older programs have none. */
  hash: string | undefined;
  answers: number;
}

/** Where rows go. */
export interface Output {
  /** What is there already, by the key of its id. */
  readonly answered: ReadonlyMap<string, Answered>;
  /** Makes ready for writing: until now nothing was touched. Rows that failed are taken out, as they are asked again. */
  begin(): Promise<void>;
  write(row: object): Promise<void>;
  /** Puts the rows in the order of these keys, which must be all that there are. */
  sort(keys: AsyncIterable<string>): Promise<void>;
  close(): Promise<void>;
}

const BEGINNING = '{"id":'; // of every row

interface Range {
  begin: number;
  end: number;
}

const notOurs = (path: string, number: number, why: string) =>
  new EngineError("bad-input", `${quoted(path)} is not the output of a batch: line ${number} ${why}`, {
    hint: "give a file that does not exist, or that an earlier run with this input has written; nothing was changed",
  });

/** An answered row, or `undefined` for one that failed. Throws where it is not a row of ours. */
function rowOf(text: string): Answered | undefined {
  const row = JSON.parse(text) as { id?: unknown; answers?: unknown; error?: unknown; hash?: unknown } | null;
  if (typeof row !== "object" || row === null || !isId(row.id)) throw new Error("has no id");
  if (Array.isArray(row.answers)) {
    return { id: row.id, hash: typeof row.hash === "string" ? row.hash : undefined, answers: row.answers.length };
  }
  if (typeof row.error !== "object" || row.error === null) throw new Error('has neither "answers" nor "error"');
  return undefined;
}

interface Found {
  answered: Map<string, Answered>;
  /** Where the answered rows lie, by key. */
  ranges: Map<string, Range>;
  /** Whether something must be taken out: rows that failed, one that was cut. */
  spoilt: boolean;
  /** Whether the last row lacks the end of its line. */
  open: boolean;
}

/** Goes through the rows of an earlier run. @throws EngineError bad-input where they are none */
async function findRows(handle: FileHandle, path: string): Promise<Found> {
  const found: Found = { answered: new Map(), ranges: new Map(), spoilt: false, open: false };
  for await (const { number, text, begin, end, ended } of readLines(handle)) {
    let row: Answered | undefined;
    try {
      row = rowOf(text);
    } catch (error) {
      // A run that was killed leaves the beginning of a row: no JSON, at the very end.
      const cut = !ended && (text.startsWith(BEGINNING) || BEGINNING.startsWith(text));
      if (!cut || !(error instanceof SyntaxError))
        throw notOurs(path, number, error instanceof SyntaxError ? "is not JSON" : (error as Error).message);
      found.spoilt = true;
      continue;
    }
    const key = row && keyOf(row.id);
    if (key === undefined || found.answered.has(key)) {
      found.spoilt = true;
      continue;
    }
    found.answered.set(key, row!);
    found.ranges.set(key, { begin, end });
    found.open = !ended;
  }
  return found;
}

const MOST_COPIED = 2 ** 20; // bytes at a time

/** Ranges that follow on each other as one. */
async function* joined(ranges: AsyncIterable<Range> | Iterable<Range>): AsyncGenerator<Range> {
  let open: Range | undefined;
  for await (const { begin, end } of ranges) {
    if (open && open.end === begin && end - open.begin <= MOST_COPIED) open = { begin: open.begin, end };
    else {
      if (open) yield open;
      open = { begin, end };
    }
  }
  if (open) yield open;
}

/** Writes a file anew from ranges of its own bytes: as a whole or not at all. */
async function rewrite(path: string, ranges: AsyncIterable<Range> | Iterable<Range>): Promise<void> {
  const partial = join(dirname(path), `.${basename(path)}.partial-${process.pid}`);
  const from = await open(path);
  try {
    const { mode } = await from.stat();
    const to = await open(partial, "w", mode);
    try {
      for await (const { begin, end } of joined(ranges)) {
        const bytes = Buffer.allocUnsafe(end - begin);
        for (let at = 0; at < bytes.length; ) at += (await from.read(bytes, at, bytes.length - at, begin + at)).bytesRead || bytes.length;
        await to.appendFile(bytes.at(-1) === 10 ? bytes : `${bytes.toString("utf8")}\n`);
      }
      await to.chmod(mode);
      await to.sync();
    } finally {
      await to.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    await from.close();
  }
}

/** Rows that go on and on: stdout, a pipe, a device. */
function streamed(path: string | undefined): Output {
  const out = path === undefined ? process.stdout : createWriteStream(path);
  let failed: Error | undefined;
  if (path !== undefined) out.on("error", (error) => (failed = error));
  return {
    answered: new Map(),
    begin: async () => {},
    write: (row) =>
      new Promise((resolve, reject) => {
        out.write(`${JSON.stringify(row)}\n`, (error) => {
          if (error ?? failed) reject(fileError(`write ${path === undefined ? "to stdout" : quoted(path)}`, error ?? failed));
          else resolve();
        });
      }),
    sort: async () => {},
    close: async () => {
      if (path !== undefined && !failed) await new Promise<void>((resolve) => out.end(resolve));
    },
  };
}

/** Whether a file can be written at this place, without writing it. */
async function checkWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there) return onFile("write", path, access(path, constants.W_OK));
  const folder = dirname(path);
  const parent = await onFile("write into", folder, stat(folder));
  if (!parent.isDirectory())
    throw new EngineError("bad-input", `cannot write ${quoted(path)}: ${quoted(folder)} is not a folder`, { hint: "give another path" });
  await onFile("write into", folder, access(folder, constants.W_OK));
}

/**
 * Opens the output of a batch, and finds what an earlier run has answered. Nothing is touched yet but the lock beside it.
 *
 * @param path the file; stdout where it is undefined
 * @param input which file the input is
 * @throws EngineError bad-input where it cannot be written, is the input, is somebody's text, or is being written by another run
 */
export async function openOutput(path: string | undefined, input: string | undefined): Promise<Output> {
  if (path === undefined) return streamed(undefined);
  if (path.trim() === "") throw new EngineError("bad-input", "-o is an empty text", { hint: "give the path of a file" });
  await checkWritable(path);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory())
    throw new EngineError("bad-input", `cannot write ${quoted(path)}: it is a folder`, { hint: "give the path of a file in it" });
  if (found && identityOf(found) === input)
    throw new EngineError("bad-input", `${quoted(path)} is the input itself`, { hint: "give another file for the answers" });
  if (found && !found.isFile()) return streamed(path);
  const real = found ? await realpath(path) : join(await realpath(dirname(path)), basename(path));
  const unlock = await lock(real);
  try {
    const handle = await open(real).catch(() => undefined);
    const rows: Found = handle
      ? await findRows(handle, path).finally(() => handle.close())
      : { answered: new Map(), ranges: new Map(), spoilt: false, open: false };
    return appended(path, real, rows, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

function appended(path: string, real: string, { answered, ranges, spoilt, open: cut }: Found, unlock: () => void): Output {
  let out: FileHandle | undefined;
  return {
    answered,
    async begin() {
      if (spoilt) await onFile("write", path, rewrite(real, ranges.values()));
      out = await onFile("write", path, open(real, "a"));
      if (cut && !spoilt) await onFile("write", path, out.appendFile("\n"));
    },
    write: (row) => onFile("write", path, out!.appendFile(`${JSON.stringify(row)}\n`)),
    async sort(keys) {
      const now = new Map<string, Range[]>();
      const handle = await open(real);
      try {
        for await (const { text, begin, end } of readLines(handle)) {
          const key = keyOf((JSON.parse(text) as { id: Id }).id);
          now.set(key, [...(now.get(key) ?? []), { begin, end }]);
        }
      } finally {
        await handle.close();
      }
      const sorted = async function* () {
        for await (const key of keys) {
          yield* now.get(key) ?? [];
          now.delete(key);
        }
      };
      await onFile("write", path, rewrite(real, sorted()));
    },
    async close() {
      await out?.close();
      unlock();
    },
  };
}
