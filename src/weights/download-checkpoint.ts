import { EngineError } from "../errors.ts";
import { INDEX_NAME, parseIndex, SafetensorsError, SINGLE_NAME } from "../safetensors/index.ts";
import { isPlainName, type Site } from "./cache.ts";
import { download } from "./download.ts";
import { describe, type RemoteFile } from "./download-describe.ts";
import type { Transport } from "./download-http.ts";
import { readSmall, type SourceProgress, type WeightSource } from "./source-types.ts";

/** What a checkpoint may have beside its tensors. Whatever else is opened is fetched when it is. */
const SMALL_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  INDEX_NAME,
];

const OPTIONAL = new Set(SMALL_FILES.slice(1));

const PARALLEL = 4; // downloads at once: one connection seldom fills the line, many annoy the server

/** Runs `work` on every item, some at a time. The first failure stops the others; it is thrown when all have ended. */
async function inParallel<T>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const queue = [...items];
  const errors: unknown[] = [];
  async function run(): Promise<void> {
    for (let item = queue.shift(); item !== undefined && !stop.signal.aborted; item = queue.shift()) {
      try {
        await work(item, either);
      } catch (error) {
        errors.push(error);
        stop.abort(error);
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, run));
  if (errors.length > 0) throw errors[0];
}

export interface FetchContext {
  transport: Transport;
  /** The server cannot be reached: what the cache has must do. */
  offline: boolean;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: SourceProgress) => void) | undefined;
}

/** Bytes for a person: `7.4 GB`. */
function sizeText(bytes: number): string {
  const [unit, name] = bytes < 1e6 ? [1e3, "kB"] : bytes < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${(bytes / (unit as number)).toFixed(1)} ${name}`;
}

/** The files of a site, fetched as needed: all of a checkpoint's at once by `fetchCheckpoint`, any other when it is opened. */
class RemoteFiles {
  readonly #site: Site;
  readonly #context: FetchContext;
  readonly #paths = new Map<string, string | null>();

  constructor(site: Site, context: FetchContext) {
    this.#site = site;
    this.#context = context;
  }

  /** Asks where a file is; gives what is still to be fetched. */
  async resolve(name: string, signal: AbortSignal | undefined = this.#context.signal): Promise<RemoteFile | undefined> {
    const { transport, offline } = this.#context;
    if (!isPlainName(name)) throw new EngineError("bad-input", `${JSON.stringify(name)} is no plain file name`);
    if (this.#paths.has(name)) return undefined;
    const known = await this.#site.known(name);
    if (known !== undefined || offline) {
      this.#paths.set(name, known ?? (await this.#site.last(name)) ?? null);
      return undefined;
    }
    const remote = await describe(transport, this.#site.url(name), { signal, optional: OPTIONAL.has(name) });
    if ("missing" in remote) {
      if (remote.missing === "certainly") await this.#site.absent(name);
      this.#paths.set(name, null);
      return undefined;
    }
    if (this.#site.commit && remote.commit && remote.commit !== this.#site.commit) {
      throw new EngineError("network", `${this.#site.title} changed to commit ${remote.commit.slice(0, 40)} while it was being fetched`, {
        hint: "try again",
      });
    }
    const current = await this.#site.current(name, remote);
    if (current === undefined) return remote;
    this.#paths.set(name, current);
    return undefined;
  }

  async fetch(name: string, remote: RemoteFile, signal: AbortSignal | undefined, onBytes?: (bytes: number) => void): Promise<void> {
    const { store } = this.#site;
    const { to, partial, lock } = this.#site.place(name, remote);
    const release = await store.lock(lock, signal);
    try {
      let path = await this.#site.current(name, remote); // another process may have fetched it while we waited
      if (path === undefined) {
        const { url, size, sha256 } = remote;
        await download({ url, name, size, sha256, to, partial }, { transport: this.#context.transport, store, signal, onBytes });
        path = await this.#site.settle(name, remote);
      } else onBytes?.(remote.size ?? 0);
      this.#paths.set(name, path);
    } finally {
      await release();
    }
  }

  has(name: string): boolean {
    return typeof this.#paths.get(name) === "string";
  }

  readonly source: WeightSource = {
    open: async (name) => {
      const remote = await this.resolve(name);
      if (remote) await this.fetch(name, remote, this.#context.signal);
      const path = this.#paths.get(name);
      if (!path) return undefined;
      const file = await this.#site.store.open(path);
      return file && { ...file, name };
    },
  };
}

/** The files that hold the tensors. @throws EngineError bad-weights for an index that names anything but plain files */
async function tensorFiles(files: RemoteFiles): Promise<readonly string[]> {
  if (!files.has(INDEX_NAME)) return [SINGLE_NAME];
  const bytes = (await readSmall(files.source, INDEX_NAME))!;
  try {
    return parseIndex(bytes, INDEX_NAME).shards;
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new EngineError("bad-weights", error.message, { ...(error.hint ? { hint: error.hint } : {}), cause: error });
  }
}

/** Numbers that only grow, from transfers that may start over. */
function progressOf(planned: ReadonlyMap<string, RemoteFile>, onProgress: FetchContext["onProgress"]) {
  const loaded = new Map<string, number>();
  const STEP = 2 ** 18; // bytes between two reports
  let reported = -STEP;
  return (file: string | undefined, bytes: number, ended = false): void => {
    if (file !== undefined) loaded.set(file, Math.max(bytes, loaded.get(file) ?? 0));
    const sum = [...loaded.values()].reduce((a, b) => a + b, 0);
    if (sum === reported || (sum - reported < STEP && !ended)) return;
    reported = sum;
    const total = [...planned].reduce((all, [name, { size }]) => all + (size ?? loaded.get(name) ?? 0), 0);
    onProgress?.({ phase: "download", loaded: sum, total: Math.max(sum, total), ...(file === undefined ? {} : { file }) });
  };
}

/**
 * Fetches whatever of a checkpoint is not in the cache yet: asks for all files first, checks that they fit, then downloads them side by side.
 *
 * @returns its files, from the cache
 * @throws EngineError network, limit-exceeded (no space), bad-weights (the index), aborted
 */
export async function fetchCheckpoint(site: Site, context: FetchContext): Promise<WeightSource> {
  const { signal, onProgress } = context;
  const files = new RemoteFiles(site, context);
  const planned = new Map<string, RemoteFile>();
  const plan = async (name: string, signal: AbortSignal): Promise<void> => {
    const remote = await files.resolve(name, signal);
    if (remote) planned.set(name, remote);
  };
  await inParallel(SMALL_FILES, signal, plan);
  const index = planned.get(INDEX_NAME);
  if (index) {
    await files.fetch(INDEX_NAME, index, signal); // it names the others, so it comes before everything is known
    planned.delete(INDEX_NAME);
  }
  const tensors = await tensorFiles(files);
  await inParallel(tensors, signal, plan);
  if (context.offline && !tensors.every((name) => files.has(name))) {
    throw new EngineError("network", `the server of ${site.title} cannot be reached, and the cache does not hold all of it`, {
      hint: "check the connection (and that HF_HUB_OFFLINE is not set)",
    });
  }
  onProgress?.({ phase: "resolve", loaded: 1, total: 1 });
  if (planned.size > 0) {
    const report = progressOf(planned, onProgress);
    await checkSpace(site, planned);
    report(undefined, 0, true);
    await inParallel([...planned], signal, ([name, remote], signal) =>
      files.fetch(name, remote, signal, (bytes) => report(name, bytes, bytes === remote.size)),
    );
    report(undefined, 0, true);
    // Every file was hashed or measured as it came.
    const bytes = [...planned.values()].reduce((sum, { size }) => sum + (size ?? 0), 0);
    onProgress?.({ phase: "verify", loaded: bytes, total: bytes });
  }
  await site.complete();
  return files.source;
}

async function checkSpace({ store, title, place }: Site, planned: ReadonlyMap<string, RemoteFile>): Promise<void> {
  const space = await store.space();
  if (space === undefined) return;
  let needs = 0;
  for (const [name, remote] of planned) {
    const begun = await store.open(place(name, remote).partial); // what is here already takes no more space
    await begun?.close?.();
    needs += Math.max(0, (remote.size ?? 0) - (begun?.size ?? 0));
  }
  if (needs <= space) return;
  throw new EngineError(
    "limit-exceeded",
    `${title} needs ${sizeText(needs)} more in ${store.root}, which has room for ${sizeText(space)}`,
    { hint: store.remedy },
  );
}
