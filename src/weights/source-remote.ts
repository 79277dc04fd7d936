import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { cachedCommit, hubSite, isCommit, urlSite } from "./cache.ts";
import { fetchCheckpoint } from "./download-checkpoint.ts";
import { describe, type MissingFile, type RemoteFile } from "./download-describe.ts";
import { isRefusal, refusal, shown, sleep, type Transport } from "./download-http.ts";
import { rangeSource } from "./download-ranges.ts";
import type { SourceProgress, WeightSource } from "./source-types.ts";

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

export interface RemoteOptions extends HubOptions, Partial<Pick<Transport, "sleep" | "random" | "idle">> {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: SourceProgress) => void) | undefined;
}

const IDLE = 60_000; // ms
const PROBES = 3; // tries before an address counts as unreachable: it may well be a mistyped path

/** `org/name` as Hugging Face allows it, or `undefined`. */
export function parseHubId(text: string): string | undefined {
  const part = /^(?!.*(?:--|\.\.))[0-9A-Za-z][\w.-]{0,95}$/;
  const parts = text.split("/");
  return parts.length === 2 && parts.every((each) => part.test(each)) ? text : undefined;
}

function endpointOf({ endpoint }: HubOptions): string {
  const text = endpoint ?? platform.env("HF_ENDPOINT") ?? "https://huggingface.co";
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new EngineError("bad-input", `the endpoint is ${JSON.stringify(text)}, needs an http(s) address`, { hint: "check HF_ENDPOINT" });
  }
  return text.replace(/\/+$/, "");
}

function revisionOf({ revision = "main" }: HubOptions): string {
  const good = /^[\w][\w.-]*(\/[\w][\w.-]*)*$/.test(revision) && !revision.includes("..");
  if (!good) throw new EngineError("bad-input", `the revision is ${JSON.stringify(revision)}, needs a branch, a tag or a commit`);
  return revision;
}

async function transportOf(options: RemoteOptions, origin: string): Promise<Transport> {
  // Without a token of its own, an address gets the user's only if it is the endpoint's.
  const value = options.token ?? (origin === new URL(endpointOf(options)).origin ? await platform.hubToken() : undefined);
  return {
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    token: value ? { value, origin } : undefined,
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
  if (!URL.canParse(text)) throw new EngineError("bad-input", `${JSON.stringify(text)} is no URL`);
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
function noModel({ base, hub }: Address, cause: EngineError): EngineError {
  if (!hub) {
    return new EngineError("network", `there is no checkpoint at ${base}: ${cause.message}`, {
      hint: "give the address of the folder that holds config.json",
      cause,
    });
  }
  const exists = /\((GatedRepo|RevisionNotFound|EntryNotFound)\)/.test(cause.message);
  const hint = exists
    ? cause.hint
    : `${platform.hasSystem ? "neither a local folder nor a" : "no"} repository has this name, as it seems; ${cause.hint}`;
  return new EngineError("network", `no model "${hub.id}" (${hub.revision}): ${cause.message}`, { ...(hint ? { hint } : {}), cause });
}

/** Asks for config.json, which every checkpoint has. `undefined`: nobody answers, and the cache can stand in. */
async function probe(
  t: Transport,
  address: Address,
  hasCopy: boolean,
  signal?: AbortSignal,
): Promise<RemoteFile | MissingFile | undefined> {
  const url = `${address.base}config.json`;
  if (hasCopy && /^(1|on|yes|true)$/i.test(platform.env("HF_HUB_OFFLINE") ?? "")) return undefined;
  try {
    const found = await describe(t, url, { signal, attempts: hasCopy ? 1 : PROBES });
    if ("missing" in found) throw refusal(url, found.answer);
    return found;
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "network") throw error;
    if (isRefusal(error)) throw noModel(address, error);
    if (hasCopy) return undefined;
    if (!address.hub) throw error;
    throw new EngineError("network", error.message, {
      hint: `"${address.hub.id}" is no local folder, so it was looked for there: check the name and the connection`,
      cause: error,
    });
  }
}

async function openAddress(address: Address, options: RemoteOptions): Promise<WeightSource> {
  const { signal, onProgress, cacheDir } = options;
  const transport = await transportOf(options, new URL(address.base).origin);
  const context = { transport, signal, onProgress };
  const { base, hub } = address;
  if (hub) {
    const store = platform.openStore("hub", cacheDir);
    const cached = await cachedCommit(store, hub.id, hub.revision);
    const old = cached ? hubSite(store, { ...hub, commit: cached, base }) : undefined;
    const hasCopy = old !== undefined && (await old.last("config.json")) !== undefined;
    if (hasCopy && isCommit(hub.revision)) return fetchCheckpoint(old, { ...context, offline: false }); // a commit never changes
    const found = await probe(transport, address, hasCopy, signal);
    if (!found) return fetchCheckpoint(old!, { ...context, offline: true });
    const { commit } = found;
    if (commit && isCommit(commit)) return fetchCheckpoint(hubSite(store, { ...hub, commit, base }), { ...context, offline: false });
    // A mirror that tells no commit: nothing can be said about versions, so its files go where any other address's do.
  }
  const site = urlSite(platform.openStore("urls", cacheDir), base);
  const hasCopy = (await site.last("config.json")) !== undefined;
  const found = await probe(transport, address, hasCopy, signal);
  return fetchCheckpoint(site, { ...context, offline: found === undefined });
}

async function rangesAt(address: Address, options: RemoteOptions): Promise<WeightSource> {
  const transport = await transportOf(options, new URL(address.base).origin);
  await probe(transport, address, false, options.signal);
  return rangeSource(transport, address.base, options.signal);
}

export const openHub = (id: string, options: RemoteOptions) => openAddress(hubAddress(id, options), options);
export const openUrl = (url: string, options: RemoteOptions) => openAddress(urlAddress(url, options), options);
export const openHubRanges = (id: string, options: RemoteOptions) => rangesAt(hubAddress(id, options), options);
export const openUrlRanges = (url: string, options: RemoteOptions) => rangesAt(urlAddress(url, options), options);
