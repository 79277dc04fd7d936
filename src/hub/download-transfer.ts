import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { sizeText } from "../options.ts";
import { BrokenBody, piecesOf, Silence, shown, unreachable } from "../platform/fetch.ts";
import { newSha256 } from "../platform/sha256.ts";
import type { FileStore, FileWriter, Sha256 } from "../platform/store.ts";
import { MAX_READ } from "../safetensors/index.ts";
import {
  type Answer,
  backOff,
  contentLength,
  contentRange,
  discard,
  isTransient,
  KEPT,
  pageError,
  refusal,
  request,
  saysPage,
  strongEtag,
  type Transport,
} from "./download-http.ts";
import { isPage } from "./first-bytes.ts";

/** One file to fetch. */
export interface Download {
  url: string;
  name: string;
  /** Bytes, where the server has told. */
  size?: number | undefined;
  /** 64 hexadecimal digits, where the server has told. */
  sha256?: string | undefined;
  /** The most that is taken, in bytes as they are stored, where the server tells no length or sends more than it told. */
  maxBytes: number;
  /** Where it goes in the store when it is complete and checked. */
  to: string;
  /** Where it grows; the resume state lies beside it, in `${partial}.json`. */
  partial: string;
}

/** What downloading a file works with. */
export interface DownloadContext {
  transport: Transport;
  store: FileStore;
  signal?: AbortSignal | undefined;
  /** How many bytes of the file are here; may go back when a transfer has to start over. */
  onBytes?: ((bytes: number) => void) | undefined;
}

/** What a later run needs to know to go on: `If-Range` holds the server to the bytes that are here already. */
interface ResumeState {
  url: string;
  etag: string;
  size?: number;
}

/** How a transfer was interrupted. */
interface Interrupted {
  /** Milliseconds until the next attempt; by default as for any failure. */
  wait?: number | undefined;
  /** Everything so far is void. */
  restart?: boolean;
  /** Nothing came, for as long as is waited. */
  silent?: boolean;
}

/** A failure after which the next attempt may succeed. */
export class Interruption extends Error {
  readonly how: Interrupted;

  constructor(error: Error, how: Interrupted = {}) {
    super(error.message, { cause: error });
    this.how = how;
  }
}

async function readState(store: FileStore, path: string): Promise<ResumeState | undefined> {
  try {
    const state = JSON.parse((await store.readText(path)) ?? "null") as ResumeState | null;
    return state && typeof state.etag === "string" && /^"[^"]*"$/.test(state.etag) ? state : undefined;
  } catch {
    return undefined; // not ours, or damaged: start over
  }
}

/** Hashes what an earlier run has left, 64 MiB at a time. */
async function hashFile(store: FileStore, path: string, hash: Sha256 | undefined, { signal, onBytes }: DownloadContext): Promise<number> {
  const source = await store.open(path);
  if (!source) return 0;
  try {
    for (let at = 0; hash && at < source.size; ) {
      signal?.throwIfAborted();
      const bytes = await source.read(at, Math.min(MAX_READ, source.size - at), signal);
      hash.update(bytes);
      at += bytes.length;
      onBytes?.(at);
    }
    return source.size;
  } finally {
    await source.close?.();
  }
}

/** One file on its way: how much is here, and what the server said about it. */
export class Transfer {
  readonly #file: Download;
  readonly #context: DownloadContext;
  #writer: FileWriter | undefined;
  #hash: Sha256 | undefined;
  #have = 0;
  #size: number | undefined;
  #etag: string | undefined;

  constructor(file: Download, context: DownloadContext) {
    this.#file = file;
    this.#context = context;
    this.#size = file.size;
  }

  get have(): number {
    return this.#have;
  }

  get #statePath(): string {
    return `${this.#file.partial}.json`;
  }

  /** Takes up what an earlier run left, if the server can be held to it. */
  async open(): Promise<void> {
    const { store } = this.#context;
    const { partial, size, sha256 } = this.#file;
    const state = await readState(store, this.#statePath);
    const usable = state !== undefined && (size === undefined || state.size === undefined || state.size === size);
    this.#hash = sha256 ? newSha256() : undefined;
    this.#have = usable ? await hashFile(store, partial, this.#hash, this.#context) : 0;
    if (this.#have > (size ?? Number.POSITIVE_INFINITY)) this.#have = 0;
    if (this.#have > 0) {
      this.#etag = state!.etag;
      this.#size ??= state!.size;
    } else this.#hash = sha256 ? newSha256() : undefined;
    this.#writer = await store.append(partial, this.#have);
    this.#context.onBytes?.(this.#have);
  }

  async restart(): Promise<void> {
    this.#hash = this.#file.sha256 ? newSha256() : undefined;
    this.#have = 0;
    this.#etag = undefined;
    await this.#writer!.clear();
    await this.#context.store.remove(this.#statePath);
  }

  get isComplete(): boolean {
    return this.#size !== undefined && this.#have === this.#size && (this.#have > 0 || this.#etag !== undefined);
  }

  /** One request; returns when the body came to its proper end. @throws Interruption, EngineError */
  async attempt(failures: number): Promise<void> {
    const { signal } = this.#context;
    const resuming = this.#have > 0 && this.#etag !== undefined;
    if (this.#have > 0 && !resuming) await this.restart();
    let answer: Answer;
    try {
      answer = await this.#ask(resuming);
    } catch (cause) {
      if (cause instanceof EngineError || cause instanceof Interruption || signal?.aborted) throw cause;
      throw new Interruption(unreachable(this.#file.url, cause, KEPT), { silent: cause instanceof Silence });
    }
    const { response } = answer;
    try {
      if (response.status === 206) this.#checkRange(response.headers, resuming);
      else if (response.status !== 200) this.#refuse(answer, failures);
      await this.#receive(response);
    } catch (error) {
      discard(response);
      throw error;
    }
    if (this.#size !== undefined && this.#have < this.#size) {
      throw new Interruption(this.#problem(`ended at byte ${this.#have} of ${this.#size}`));
    }
    this.#size ??= this.#have;
  }

  /** Asks for the file, or for the rest of it. */
  async #ask(resuming: boolean): Promise<Answer> {
    const { transport, signal } = this.#context;
    const { url } = this.#file;
    if (!resuming) return request(transport, url, { signal });
    const range = `bytes=${this.#have}-`;
    try {
      return await request(transport, url, { headers: { range, "if-range": this.#etag! }, signal });
    } catch (cause) {
      if (cause instanceof EngineError || signal?.aborted || platform.seesEverything) throw cause;
      // Either the network is down, or the server does not let a page of another origin send If-Range. A Range alone needs no leave;
      // then the answer has to show that its file is the same.
      const answer = await request(transport, url, { headers: { range }, signal });
      if (answer.response.status !== 206 || strongEtag(answer.response.headers) === this.#etag) return answer;
      discard(answer.response);
      throw new Interruption(this.#problem("does not show that it is the same file still"), { restart: true });
    }
  }

  #problem(what: string): EngineError {
    const hint = "try again; if it persists, the server is at fault";
    return new EngineError("network", `${this.#file.name} from ${shown(this.#file.url)} ${what}`, { hint });
  }

  /** A 206 must go on exactly where we are, in the same file. */
  #checkRange(headers: Headers, resuming: boolean): void {
    const range = contentRange(headers);
    const etag = headers.get("etag");
    const has = headers.get("content-range") ?? "no Content-Range";
    if (!resuming || !range || range.first !== this.#have || (this.#size ?? range.total) !== (range.total ?? this.#size)) {
      throw new Interruption(this.#problem(`gives ${JSON.stringify(has.slice(0, 80))}, needs byte ${this.#have} of ${this.#size}`), {
        restart: true,
      });
    }
    if (etag !== null && etag.trim() !== this.#etag) {
      throw new Interruption(this.#problem("changed while it was fetched"), { restart: true });
    }
    this.#size ??= range.total;
  }

  /** A 200 brings the whole file, from its first byte. */
  async #begin(headers: Headers): Promise<void> {
    if (this.#have > 0) await this.restart();
    const length = contentLength(headers);
    const { size } = this.#file;
    if (size !== undefined && length !== undefined && length !== size) {
      throw new Interruption(this.#problem(`has ${length} bytes, needs ${size}`), { restart: true });
    }
    this.#size = size ?? length;
    this.#etag = strongEtag(headers);
    if (this.#etag === undefined) return;
    const state: ResumeState = { url: shown(this.#file.url), etag: this.#etag, ...(this.#size === undefined ? {} : { size: this.#size }) };
    await this.#context.store.writeText(this.#statePath, JSON.stringify(state));
  }

  #refuse({ response, redirected }: Answer, failures: number): never {
    const { status, headers } = response;
    const error = refusal(this.#file.url, response);
    if (status === 416) throw new Interruption(error, { restart: true });
    // A CDN's signed address expires: the origin gives a new one. Some CDNs need a moment, hence also once at the origin itself.
    if ((redirected && [401, 403, 404, 410].includes(status)) || (status === 403 && failures === 0 && !headers.has("x-error-code"))) {
      throw new Interruption(error, { wait: 0 });
    }
    if (!isTransient(status)) throw error;
    const wait = backOff(failures + 1, this.#context.transport.random, headers);
    if (wait === undefined) throw error;
    throw new Interruption(error, { wait });
  }

  async #receive(response: Response): Promise<void> {
    const { signal, transport } = this.#context;
    const { name, url } = this.#file;
    const isWhole = response.status === 200;
    let begun = false;
    try {
      for await (const bytes of piecesOf(response, transport.idle)) {
        signal?.throwIfAborted();
        if (isWhole && !begun) {
          // A login page must not cost what an earlier run has fetched.
          if (isPage(bytes, saysPage(response))) throw pageError(name, url);
          await this.#begin(response.headers);
        }
        begun = true;
        await this.#put(bytes);
      }
      if (isWhole && !begun) await this.#begin(response.headers); // an empty file
    } catch (error) {
      if (!(error instanceof BrokenBody) || signal?.aborted) throw error;
      const { message, cause } = error.cause as Error;
      const why = [message, (cause as Error | undefined)?.message].filter(Boolean).join(": ");
      throw new Interruption(this.#problem(`broke off at byte ${this.#have} of ${this.#size ?? "an unknown number"}: ${why}`), {
        silent: error.cause instanceof Silence,
      });
    }
  }

  async #put(bytes: Uint8Array): Promise<void> {
    const { maxBytes, name, url } = this.#file;
    const end = this.#have + bytes.length;
    if (this.#size !== undefined && end > this.#size) {
      throw new Interruption(this.#problem(`gives more than ${this.#size} bytes`), { restart: true });
    }
    if (end > maxBytes) {
      await this.restart(); // nothing of it is worth keeping
      throw new EngineError("network", `${name} from ${shown(url)} has more than ${sizeText(maxBytes)}, which is the limit`, {
        hint: "this is not the file that a checkpoint has under this name: check the address",
      });
    }
    await this.#writer!.write(bytes);
    this.#hash?.update(bytes);
    this.#have = end;
    this.#context.onBytes?.(this.#have);
  }

  /** @throws Interruption where the bytes are not those that the server promised */
  check(): void {
    const { sha256 } = this.#file;
    const hash = this.#hash?.hex();
    if (hash !== sha256) throw new Interruption(this.#problem(`has sha256 ${hash}, the server promises ${sha256}`), { restart: true });
  }

  async finish(): Promise<void> {
    const { store } = this.#context;
    await this.#close();
    await store.rename(this.#file.partial, this.#file.to);
    await store.remove(this.#statePath);
  }

  async #close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close();
  }

  /** Keeps what a later run can go on with, and nothing else. */
  async abandon(): Promise<void> {
    const { store } = this.#context;
    await this.#close();
    if (this.#have > 0 && this.#etag !== undefined) return;
    await store.remove(this.#file.partial);
    await store.remove(this.#statePath);
  }
}
