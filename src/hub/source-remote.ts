import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { quoted } from "../options.ts";
import { IDLE, shown } from "../platform/fetch.ts";
import { type CheckpointCache, cachedCommit, hubCache, isCommit, urlCache } from "./cache.ts";
import { remoteCheckpoint } from "./download-checkpoint.ts";
import { describe, type RemoteFile } from "./download-describe.ts";
import { isPageError, isRefusal, pageError, refusal, sleep, type Transport } from "./download-http.ts";
import { rangeSource } from "./download-ranges.ts";
import { checkSize } from "./foreign.ts";
import { parseHubId } from "./hub-id.ts";
import { type FileNames, MODEL_FILES, type SourceProgress, type StagedSource, type WeightSource } from "./source-types.ts";

/** Where a checkpoint on a server comes from and goes to. In Node the variables in brackets set the defaults. */
export interface HubOptions {
  /** The server of `org/name` [HF_ENDPOINT]; https://huggingface.co by default. */
  endpoint?: string | undefined;
  /** Branch, tag or commit of `org/name`; `main` by default. */
  revision?: string | undefined;
  /** Sent to the endpoint only, or, where a URL is loaded, to its server only [HF_TOKEN, or what `hf auth login` stored]. */
  token?: string | undefined;
  /** The folder that downloads are kept in [HF_HUB_CACHE, HF_HOME]; in a browser: in the site's private file system. */
  cacheDir?: string | undefined;
  /** In place of the global fetch. */
  fetch?: typeof fetch | undefined;
}

/** Where files on a server are looked for, and how they are fetched. */
export interface RemoteOptions extends HubOptions, Partial<Pick<Transport, "sleep" | "random" | "idle">> {
  /** What is looked for: by default a model's files. */
  names?: FileNames | undefined;
  /**
   * Whether files that a model of its kind may have are fetched although nobody opened them: true by default. An address is asked each time, so that
   * each file that it lacks costs a load a request; of `org/name` the copy is whole in any case, and nothing is asked for again.
   */
  whole?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: SourceProgress) => void) | undefined;
}

const PATIENCE = 5_000; // ms that a server has to answer where the cache can stand in for it
const PROBES = 3; // tries before an address counts as unreachable: it may well be a mistyped path

function endpointOf({ endpoint }: HubOptions): string {
  const text = endpoint ?? platform.env("HF_ENDPOINT") ?? "https://huggingface.co";
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new EngineError("bad-input", `the endpoint is ${quoted(text)}, needs an http(s) address`, { hint: "check HF_ENDPOINT" });
  }
  return text.replace(/\/+$/, "");
}

function revisionOf({ revision = "main" }: HubOptions): string {
  const good = /^[\w][\w.-]*(\/[\w][\w.-]*)*$/.test(revision) && !revision.includes("..");
  if (!good)
    throw new EngineError("bad-input", `the revision is ${quoted(revision)}, needs a branch, a tag or a commit`, {
      hint: "leave it out for main",
    });
  return revision;
}

/** Whether a token can stand in a request's header. The text itself is never shown. */
function checkToken(value: string, from: string): string {
  const token = value.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  const lines = token.split(/\r?\n/).length;
  const has = token === "" ? "is empty" : lines > 1 ? `holds ${lines} lines` : "holds characters that no token has";
  throw new EngineError("bad-input", `the token from ${from} ${has}, needs one word such as hf_…`, {
    hint: "copy the token alone, on one line",
  });
}

async function transportOf(options: RemoteOptions, origin: string): Promise<Transport> {
  // Without a token of its own, an address gets the user's only if it is the endpoint's.
  const own = options.token === undefined ? undefined : { value: options.token, from: "the option `token`" };
  const found = own ?? (origin === new URL(endpointOf(options)).origin ? await platform.hubToken() : undefined);
  return {
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    token: found && { value: checkToken(found.value, found.from), origin },
    sleep: options.sleep ?? sleep,
    random: options.random ?? Math.random,
    idle: options.idle ?? IDLE,
  };
}

interface Address {
  /** Ends in `/`. */
  base: string;
  hub?: { id: string; revision: string };
}

function hubAddress(id: string, options: HubOptions, endpoint = endpointOf(options)): Address {
  const revision = revisionOf(options);
  return { base: `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/`, hub: { id, revision } };
}

/** The address of a folder; a model's page on Hugging Face stands for its repository. */
function urlAddress(text: string, options: HubOptions): Address {
  if (!URL.canParse(text)) throw new EngineError("bad-input", `${shown(text)} is not a URL`, { hint: "write https://host/folder" });
  const url = new URL(text);
  if (url.search || url.username || url.password) {
    throw new EngineError("bad-input", `${shown(text)} has a query or a password, which cannot be put before every file's name`, {
      hint: "give the plain address of the folder, and a token as an option",
    });
  }
  const page = /^\/([^/]+\/[^/]+?)(?:\/(?:tree|resolve|blob)\/([^/]+))?\/?$/.exec(url.pathname);
  const id = /^(www\.)?(huggingface\.co|hf\.co)$/.test(url.hostname) && page ? parseHubId(page[1]!) : undefined;
  if (id) return hubAddress(id, { ...options, revision: options.revision ?? (page![2] && decodeURIComponent(page![2])) }, url.origin);
  return { base: `${url.origin}${url.pathname.replace(/\/*$/, "/")}` };
}

/** Says that there is no such model, with the address that was asked and what can be done. */
function noModel({ base, hub }: Address, config: string, cause: EngineError): EngineError {
  if (!hub) {
    return new EngineError("network", `there is no checkpoint at ${base}: ${cause.message}`, {
      hint: `give the address of the folder that holds ${config}${/answers 40[13]/.test(cause.message) ? ", and, where it is private, the option `token`" : ""}`,
      cause,
    });
  }
  const exists = /\((GatedRepo|RevisionNotFound|EntryNotFound)\)/.test(cause.message);
  const hint = exists
    ? cause.hint
    : `${platform.hasSystem ? "neither a local folder nor a" : "no"} repository has this name, as it seems; ${cause.hint}`;
  return new EngineError("network", `no model "${hub.id}" (${hub.revision}): ${cause.message}`, { ...(hint ? { hint } : {}), cause });
}

/** Why no server may be asked, by the user's own wish. */
const offlineByWish = (): string | undefined =>
  /^(1|on|yes|true)$/i.test(platform.env("HF_HUB_OFFLINE") ?? "") ? "HF_HUB_OFFLINE is set" : undefined;

/** Asks for the file that must be there (`config`). A text: why the cache must stand in for the server, which it can where `hasCopy`. */
async function probe(t: Transport, address: Address, config: string, hasCopy: boolean, signal?: AbortSignal): Promise<RemoteFile | string> {
  const url = address.base + config;
  const wish = offlineByWish();
  if (wish !== undefined && hasCopy) return wish;
  if (wish !== undefined) {
    throw new EngineError("network", `${wish}, and the cache holds no copy of ${address.hub?.id ?? address.base}`, {
      hint: "unset HF_HUB_OFFLINE to let it be downloaded, or give a folder's path",
    });
  }
  try {
    // With a copy at hand nobody waits long.
    const found = await describe(hasCopy ? { ...t, idle: Math.min(t.idle, PATIENCE) } : t, url, { signal, attempts: hasCopy ? 1 : PROBES });
    if (!("missing" in found)) {
      checkSize(config, found.size ?? 0);
      return found;
    }
    throw found.missing === "page" ? pageError(config, url) : refusal(url, found.answer);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "network") throw error;
    if (isRefusal(error)) throw noModel(address, config, error);
    if (hasCopy) return error.message;
    if (!address.hub || isPageError(error)) throw error;
    throw new EngineError("network", error.message, {
      hint: `"${address.hub.id}" is not a local folder, so it was looked for there: check the name and the connection`,
      cause: error,
    });
  }
}

async function openAddress(address: Address, options: RemoteOptions): Promise<StagedSource> {
  const { signal, onProgress, cacheDir, names = MODEL_FILES, whole = true } = options;
  const transport = await transportOf(options, new URL(address.base).origin);
  /** @param found what the server says of the configuration, or why the cache must stand in for it */
  const open = (cache: CheckpointCache, found: RemoteFile | string | undefined): Promise<StagedSource> => {
    const told = typeof found === "string" ? { offline: found } : { config: found };
    if (told.offline !== undefined)
      onProgress?.({ phase: "resolve", loaded: 0, total: 1, note: `${told.offline}: using the copy in ${cache.store.root}` });
    const wanted = whole || cache.commit !== undefined ? names : { ...names, small: [] };
    return remoteCheckpoint(cache, { names: wanted, transport, signal, onProgress, ...told });
  };
  const { base, hub } = address;
  if (hub) {
    const store = await platform.openStore("hub", cacheDir);
    const cached = await cachedCommit(store, hub.id, hub.revision);
    const old = cached ? hubCache(store, { ...hub, commit: cached, base }) : undefined;
    const hasCopy = old !== undefined && (await old.last(names.config)) !== undefined;
    if (hasCopy && isCommit(hub.revision)) return open(old, offlineByWish()); // a commit never changes
    const found = await probe(transport, address, names.config, hasCopy, signal);
    if (typeof found === "string") return open(old!, found);
    const { commit } = found;
    if (commit && isCommit(commit)) {
      if (hasCopy && commit !== cached && !(await store.isWritable()))
        return open(old, `there is a newer version, but ${store.root} is read-only`);
      return open(hubCache(store, { ...hub, commit, base }), found);
    }
    // A mirror that tells no commit: nothing can be said about versions, so its files go where any other address's do.
  }
  const cache = urlCache(await platform.openStore("urls", cacheDir), base);
  const hasCopy = (await cache.last(names.config)) !== undefined;
  const found = await probe(transport, address, names.config, hasCopy, signal);
  return open(cache, found);
}

async function rangesAt(address: Address, options: RemoteOptions): Promise<WeightSource> {
  if (offlineByWish() !== undefined) return openAddress(address, options); // the copy, or the reason why there is none
  const transport = await transportOf(options, new URL(address.base).origin);
  await probe(transport, address, MODEL_FILES.config, false, options.signal);
  return rangeSource(transport, address.base, options.signal);
}

/** The files of `org/name` on Hugging Face, by way of the cache. */
export const openHub = (id: string, options: RemoteOptions) => openAddress(hubAddress(id, options), options);
/** The files of a folder on a server, by way of the cache. */
export const openUrl = (url: string, options: RemoteOptions) => openAddress(urlAddress(url, options), options);
/** The files of `org/name`, of which only what is read is fetched; nothing is kept. */
export const openHubRanges = (id: string, options: RemoteOptions) => rangesAt(hubAddress(id, options), options);
/** The files of a folder on a server, of which only what is read is fetched; nothing is kept. */
export const openUrlRanges = (url: string, options: RemoteOptions) => rangesAt(urlAddress(url, options), options);
