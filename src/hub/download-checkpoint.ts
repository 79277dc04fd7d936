import { EngineError } from "../errors.ts";
import { parseIndex } from "../safetensors/index.ts";
import { type CheckpointCache, checkPlainName } from "./cache.ts";
import { download } from "./download.ts";
import { describe, type RemoteFile } from "./download-describe.ts";
import { isPageError, pageError, type Transport } from "./download-http.ts";
import { checkSpace, inParallel, type Plan, progressOf, reportChecks } from "./download-plan.ts";
import { rangeFile, toldSize } from "./download-ranges.ts";
import { checkSize, limitOf, lookedAt, readSmall } from "./foreign.ts";
import { asBadWeights } from "./open.ts";
import type { FileNames, SourceProgress, StagedSource } from "./source-types.ts";

const isTensors = (name: string): boolean => name.endsWith(".safetensors");

/** What is taken of a file with tensors whose length the server does not tell: more than any that is published. */
const UNTOLD = 64 * 2 ** 30; // bytes
const SPARE = 2 ** 30; // bytes of the disk that such a file leaves

export interface FetchContext {
  /** The files of its kind. */
  names: FileNames;
  transport: Transport;
  /** What the server has just said of the configuration: it is not asked for it again. */
  config?: RemoteFile | undefined;
  /** Why the server is not asked: what the cache has must do. */
  offline?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: SourceProgress) => void) | undefined;
}

/** The files of a checkpoint on a server, each fetched when it is opened; those with tensors are read by ranges until `download` brings them all. */
class RemoteFiles implements StagedSource {
  readonly #cache: CheckpointCache;
  readonly #context: FetchContext;
  readonly #paths = new Map<string, string | null>();
  readonly #remotes: Plan = new Map(); // described, and not here yet
  readonly #pages = new Set<string>(); // absent because a page stands in their place

  constructor(cache: CheckpointCache, context: FetchContext) {
    this.#cache = cache;
    this.#context = context;
  }

  /** Whether it may do without a file of this name. What an index lists it may not. */
  #isOptional(name: string): boolean {
    const { config, single } = this.#context.names;
    return name !== config && (!isTensors(name) || name === single);
  }

  /** Asks where a file is; gives what is still to be fetched. */
  async #resolve(name: string, signal: AbortSignal | undefined): Promise<RemoteFile | undefined> {
    checkPlainName(name);
    if (this.#paths.has(name)) return undefined;
    const before = this.#remotes.get(name);
    if (before) return before;
    const { transport, offline, names, config } = this.#context;
    const known = await this.#cache.known(name);
    if (known !== undefined || offline !== undefined) {
      this.#paths.set(name, known ?? (await this.#cache.last(name)) ?? null);
      return undefined;
    }
    const asked = () => describe(transport, this.#cache.url(name), { signal, optional: this.#isOptional(name) });
    const remote = name === names.config && config ? config : await asked();
    if ("missing" in remote) {
      if (remote.missing === "certainly") await this.#cache.absent(name);
      if (remote.missing === "page") this.#isPage(name);
      this.#paths.set(name, null);
      return undefined;
    }
    if (this.#cache.commit && remote.commit && remote.commit !== this.#cache.commit) {
      throw new EngineError("network", `${this.#cache.title} changed to commit ${remote.commit.slice(0, 40)} while it was being fetched`, {
        hint: "try again",
      });
    }
    const current = await this.#cache.current(name, remote);
    if (current !== undefined) {
      this.#paths.set(name, current);
      return undefined;
    }
    checkSize(name, remote.size ?? 0);
    this.#remotes.set(name, remote);
    return remote;
  }

  /** A page in place of a file: there is none. @throws EngineError network where the checkpoint needs it */
  #isPage(name: string): void {
    const { single, index } = this.#context.names;
    this.#pages.add(name);
    const needed = name === single ? this.#pages.has(index) : name === index ? this.#pages.has(single) : !this.#isOptional(name);
    if (needed) throw pageError(name === index ? single : name, this.#cache.url(name));
  }

  async #maxBytes(name: string, { size }: RemoteFile): Promise<number> {
    if (size !== undefined || !isTensors(name)) return Math.min(limitOf(name), size ?? Number.POSITIVE_INFINITY);
    return Math.min(UNTOLD, Math.max(0, ((await this.#cache.store.space()) ?? UNTOLD) - SPARE));
  }

  async #fetch(name: string, remote: RemoteFile, signal: AbortSignal | undefined, onBytes?: (bytes: number) => void): Promise<void> {
    const { store } = this.#cache;
    const { to, partial, lock } = this.#cache.place(name, remote);
    const release = await store.lock(lock, signal);
    try {
      let path = await this.#cache.current(name, remote); // another process may have fetched it while we waited
      if (path === undefined) {
        const { url, size, sha256 } = remote;
        const maxBytes = await this.#maxBytes(name, remote);
        await download({ url, name, size, sha256, maxBytes, to, partial }, { transport: this.#context.transport, store, signal, onBytes });
        path = await this.#cache.settle(name, remote);
      } else onBytes?.(remote.size ?? 0);
      this.#paths.set(name, path);
    } catch (error) {
      if (!isPageError(error) || !this.#isOptional(name)) throw error;
      this.#isPage(name);
      this.#paths.set(name, null);
    } finally {
      this.#remotes.delete(name);
      await release();
    }
  }

  async has(name: string): Promise<boolean> {
    return (await this.#resolve(name, this.#context.signal)) !== undefined || typeof this.#paths.get(name) === "string";
  }

  async open(name: string): ReturnType<StagedSource["open"]> {
    const { transport, signal, onProgress, names } = this.#context;
    const remote = await this.#resolve(name, signal);
    if (remote && isTensors(name)) return rangeFile(transport, remote.url, name, toldSize(remote));
    if (remote) {
      onProgress?.({ phase: "resolve", loaded: 0, total: 1, file: name });
      await this.#fetch(name, remote, signal);
    }
    const path = this.#paths.get(name);
    if (!path) {
      // Neither a single file nor an index: whoever looks for the tensors hears why.
      if (name === names.index && this.#pages.has(names.single)) throw pageError(names.single, this.#cache.url(names.single));
      return undefined;
    }
    const file = await this.#cache.store.open(path);
    return file && { ...file, name };
  }

  /** The files that hold the tensors, by transformers' order: a single file comes before an index. */
  async #tensorFiles(signal: AbortSignal | undefined): Promise<readonly string[]> {
    const { single, index } = this.#context.names;
    await this.#resolve(single, signal);
    if (this.#paths.get(single) !== null) return [single];
    const bytes = await readSmall(lookedAt(this), index);
    return bytes ? asBadWeights(async () => parseIndex(bytes, index).shards) : [single];
  }

  /** @throws EngineError network where the cache must do and does not hold everything */
  async checkOffline(): Promise<void> {
    const { offline, signal } = this.#context;
    if (offline === undefined) return;
    for (const name of await this.#tensorFiles(signal)) {
      await this.#resolve(name, signal);
      if (this.#paths.get(name)) continue;
      throw new EngineError("network", `${offline}, and the cache does not hold all of ${this.#cache.title}: ${name} is missing`, {
        hint: "check the connection (and that HF_HUB_OFFLINE is not set)",
      });
    }
  }

  /** Fetches what is to be here and is not in the cache yet: asks for all of it first, checks that they fit, then downloads them side by side. */
  async download(): Promise<boolean> {
    const { signal, onProgress, names } = this.#context;
    const tensors = await this.#tensorFiles(signal);
    const planned: Plan = new Map();
    await inParallel([...new Set([names.config, ...names.small, ...tensors])], signal, async (name, signal) => {
      const remote = await this.#resolve(name, signal);
      if (remote) planned.set(name, remote);
    });
    onProgress?.({ phase: "resolve", loaded: 1, total: 1 });
    if (planned.size > 0) await this.#fetchAll(planned);
    if (this.#pages.has(names.single) && tensors.includes(names.single)) return this.download(); // it was none: the index may know others
    await this.#cache.complete();
    return planned.size > 0;
  }

  async #fetchAll(planned: Plan): Promise<void> {
    const { signal, onProgress } = this.#context;
    const report = progressOf(planned, onProgress);
    await checkSpace(this.#cache, planned);
    report(undefined, 0);
    let bytes = 0;
    await inParallel([...planned], signal, async ([name, remote], signal) => {
      let last = 0;
      await this.#fetch(name, remote, signal, (now) => report(name, (last = now)));
      bytes += last;
    });
    report(undefined, 0);
    reportChecks(planned, bytes, onProgress);
  }
}

/**
 * The files of a checkpoint on a server: small ones are fetched into the cache when they are opened, those with tensors when `download` is called.
 *
 * @throws EngineError network where the server cannot be asked and the cache does not hold everything
 */
export async function remoteCheckpoint(cache: CheckpointCache, context: FetchContext): Promise<StagedSource> {
  const files = new RemoteFiles(cache, context);
  await files.checkOffline();
  return files;
}
