import { quote, SafetensorsError } from "./errors.ts";
import { MAX_HEADER, readHeader } from "./header.ts";
import { parseIndex, type ShardIndex } from "./index-file.ts";
import { readRange } from "./source.ts";
import type { TensorEntry } from "./tensor-data.ts";
import { type ByteSource, type Header, INDEX_NAME, SINGLE_NAME } from "./types.ts";

/** Where a checkpoint's files lie: a folder, a URL, a list of `File`s. */
export interface Directory {
  /** Opens a file by its plain name; `undefined` if there is none. Rejects on anything else. */
  open(name: string): Promise<ByteSource | undefined>;
}

/** One safetensors file of an open checkpoint. */
export interface CheckpointFile {
  readonly name: string;
  /** Bytes in the file. */
  readonly size: number;
  readonly header: Header;
  readonly source: ByteSource;
}

/** An open checkpoint: headers read and checked, data not yet read. */
export interface Checkpoint {
  /** Every tensor of every file, in the order of files and bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The files' `__metadata__` together; where two files differ on a key, the first file's value. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The safetensors files, sorted by name. */
  readonly files: readonly CheckpointFile[];
  /** Closes all sources; reading afterwards is an error of the source. Closing twice does nothing. */
  close(): Promise<void>;
}

// Shards opened at once: enough to hide a server's latency, far from any limit on open files.
const PARALLEL = 8;

/** Calls `visit` on every item, `PARALLEL` at a time, waits for all of a batch, then throws the first failure in the items' order. */
async function inBatches<T, R>(items: readonly T[], visit: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += PARALLEL) {
    for (const outcome of await Promise.allSettled(items.slice(at, at + PARALLEL).map(visit))) {
      if (outcome.status === "rejected") throw outcome.reason;
      results.push(outcome.value);
    }
  }
  return results;
}

async function readIndex(source: ByteSource, signal: AbortSignal | undefined): Promise<ShardIndex> {
  try {
    if (source.size > MAX_HEADER) {
      throw new SafetensorsError(`the index has ${source.size} bytes, the limit is ${MAX_HEADER}`, { file: source.name });
    }
    return parseIndex(await readRange(source, 0, source.size, { signal }), source.name);
  } finally {
    await source.close?.();
  }
}

/** Puts the files' tensors into one map. @throws SafetensorsError where two files hold the same tensor */
function collect(files: readonly CheckpointFile[]): Map<string, TensorEntry> {
  const tensors = new Map<string, TensorEntry>();
  const holder = new Map<string, string>(); // tensor → file
  for (const { name: file, header, source } of files) {
    for (const [tensor, info] of header.tensors) {
      const other = holder.get(tensor);
      if (other !== undefined) throw new SafetensorsError(`it lies in this shard and in ${quote(other)} too`, { file, tensor });
      holder.set(tensor, file);
      tensors.set(tensor, { info, source });
    }
  }
  return tensors;
}

/** Checks that the index and the shards name the same tensors at the same places. */
function checkIndex(index: ShardIndex, files: readonly CheckpointFile[]): void {
  const hint = "index and shards are from different checkpoints: fetch both again";
  for (const { name: file, header } of files) {
    for (const tensor of header.tensors.keys()) {
      const listed = index.weightMap.get(tensor);
      if (listed === undefined)
        throw new SafetensorsError(`it lies in this shard, but ${INDEX_NAME} does not list it`, { file, tensor, hint });
      if (listed !== file) {
        throw new SafetensorsError(`it lies in this shard, but ${INDEX_NAME} says ${quote(listed)}`, { file, tensor, hint });
      }
    }
  }
  const shards = new Map(files.map((file) => [file.name, file.header.tensors]));
  for (const [tensor, file] of index.weightMap) {
    if (!shards.get(file)?.has(tensor)) {
      throw new SafetensorsError(`${INDEX_NAME} says it lies in this shard, but it does not`, { file, tensor, hint });
    }
  }
}

/**
 * Opens the checkpoint in a directory: `model.safetensors`, or else the shards that `model.safetensors.index.json` lists. That is the
 * transformers library's order: an index beside a single file is one that an earlier, sharded save has left.
 * Reads all headers and checks them against each other; reads no tensor. On failure everything opened is closed again.
 *
 * @throws SafetensorsError naming shard and tensor; what the directory, a source or the signal throws passes through
 */
export async function openCheckpoint(directory: Directory, { signal }: { signal?: AbortSignal } = {}): Promise<Checkpoint> {
  signal?.throwIfAborted();
  const single = await directory.open(SINGLE_NAME);
  const indexSource = single ? undefined : await directory.open(INDEX_NAME);
  const index = indexSource && (await readIndex(indexSource, signal));

  let open: ByteSource[] = single ? [single] : [];
  async function close(): Promise<void> {
    const closing = open;
    open = [];
    const outcomes = await Promise.allSettled(closing.map(async (source) => source.close?.()));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }
  async function openFile(name: string): Promise<CheckpointFile> {
    signal?.throwIfAborted();
    const source = index ? await directory.open(name) : single;
    if (!source) {
      const problem = index ? `${INDEX_NAME} lists this shard, but there is no such file` : `no such file, and no ${INDEX_NAME} either`;
      throw new SafetensorsError(problem, { file: name, absent: true, hint: "fetch the missing files; they must lie in one folder" });
    }
    if (source !== single) open.push(source);
    return { name, size: source.size, header: await readHeader(source, signal), source };
  }

  try {
    const files = await inBatches(index ? index.shards : [SINGLE_NAME], openFile);
    const tensors = collect(files);
    if (index) checkIndex(index, files);
    const metadata = new Map<string, string>();
    for (const { header } of files) for (const [key, value] of header.metadata) if (!metadata.has(key)) metadata.set(key, value);
    return { tensors, metadata, files, close };
  } catch (error) {
    await close().catch(() => {}); // the first error is the one to tell
    throw error;
  }
}
