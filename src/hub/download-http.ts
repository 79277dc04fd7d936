import { platform } from "#platform";
import { EngineError, onAbort } from "../errors.ts";
import { answerOf, Silence, shown, unreachable } from "../platform/fetch.ts";

/** What requests go through; tests put their own clock and dice in. */
export interface Transport {
  fetch: typeof fetch;
  /** Sent as a bearer token, to this origin and to no other. */
  token?: { value: string; origin: string } | undefined;
  /** Milliseconds. Rejects when the signal fires. */
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** From 0 up to 1. */
  random: () => number;
  /** Milliseconds without a byte after which a connection counts as dead. */
  idle: number;
}

/** An answer, with what the redirects before it told. */
export interface Answer {
  response: Response;
  /** Whether the last hop was not the address that was asked for. */
  redirected: boolean;
  /** Headers of the first answer in the chain that had each: the origin's, where a CDN delivers. */
  first: (name: string) => string | undefined;
}

const MAX_REDIRECTS = 10;

/** The default wait. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((fulfil, reject) => {
    const timer = setTimeout(() => {
      leave();
      fulfil();
    }, ms);
    const leave = onAbort(signal, () => {
      clearTimeout(timer);
      reject(signal?.reason);
    });
  });
}

/** An address as a server wrote it, without what may be secret in it. */
const plainAddress = (text: string): string =>
  text
    .replace(/[?#].*$/s, "")
    .replace(/\/\/[^/]*@/, "//")
    .slice(0, 100);

/** Gives the connection back without reading the rest. Not awaited: a dead connection may never say that it is closed. */
export function discard(response: Response): void {
  void response.body?.cancel().catch(() => {}); // it may be broken: nobody wants it any more
}

/**
 * One request. Redirects are followed here, hop by hop, so that the token goes to its own origin only and the origin's headers are seen;
 * a browser hides them, so there it follows by itself (and drops the token on the way to another origin).
 *
 * @throws EngineError network for a redirect that leads nowhere; what fetch rejects with passes through
 */
export async function request(
  { fetch, token, idle }: Transport,
  url: string,
  { method = "GET", headers = {}, signal, stopAt }: RequestOptions = {},
): Promise<Answer> {
  const seen: Headers[] = [];
  let at = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    // identity: a compressed body has neither the file's length nor its ranges.
    const sent: Record<string, string> = { "accept-encoding": "identity", ...headers };
    if (token && new URL(at).origin === token.origin) sent.authorization = `Bearer ${token.value}`;
    const init: RequestInit = { method, headers: sent, ...(signal ? { signal } : {}) };
    let response = await answerOf(fetch, at, { ...init, redirect: "manual" }, idle);
    if (response.type === "opaqueredirect") response = await answerOf(fetch, at, { ...init, redirect: "follow" }, idle);
    seen.push(response.headers);
    const first = (name: string): string | undefined => seen.find((each) => each.has(name))?.get(name) ?? undefined;
    const answer = { response, redirected: hop > 0 || response.redirected, first };
    const location = [301, 302, 303, 307, 308].includes(response.status) ? response.headers.get("location") : undefined;
    if (!location || stopAt?.(response)) return answer;
    discard(response);
    const next = URL.canParse(location, at) ? new URL(location, at) : undefined;
    if (!next || !/^https?:$/.test(next.protocol) || (new URL(at).protocol === "https:" && next.protocol === "http:")) {
      throw new EngineError("network", `${shown(at)} redirects to ${JSON.stringify(plainAddress(location))}, which is not followed`, {
        hint: "redirects must stay on http(s), and on https once there",
      });
    }
    at = next.href;
  }
  throw new EngineError("network", `${shown(url)} redirects more than ${MAX_REDIRECTS} times`, { hint: "check the address" });
}

/** What a request asks for. */
export interface RequestOptions {
  method?: "GET" | "HEAD";
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** A redirect that already tells enough. */
  stopAt?: (redirect: Response) => boolean;
}

/** An ETag that promises the same bytes: in quotes, and not weak. */
export function strongEtag(headers: Headers): string | undefined {
  const etag = headers.get("etag")?.trim();
  return etag && /^"[^"]*"$/.test(etag) ? etag : undefined;
}

/** An ETag without quotes and weakness: the name of a blob in Hugging Face's cache. */
export const bareEtag = (etag: string): string => etag.trim().replace(/^W\//, "").replace(/^"|"$/g, "");

/** The length of the body as the server states it; a compressed body's says nothing about the file. */
export function contentLength(headers: Headers): number | undefined {
  const encoding = headers.get("content-encoding");
  if (encoding && encoding !== "identity") return undefined;
  const text = headers.get("content-length") ?? "";
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** `bytes 5-9/10`: first, last and the whole length, where told. */
export function contentRange(headers: Headers): { first: number; last: number; total: number | undefined } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(headers.get("content-range")?.trim() ?? "");
  if (!match) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2])];
  const total = match[3] === "*" ? undefined : Number(match[3]);
  return first <= last && (total === undefined || last < total) ? { first, last, total } : undefined;
}

/** The file's SHA-256 as the server tells it: Hugging Face's `x-linked-etag`, or `Repr-Digest` (RFC 9530). */
export function toldSha256(first: Answer["first"]): string | undefined {
  const linked = bareEtag(first("x-linked-etag") ?? "").toLowerCase();
  if (/^[0-9a-f]{64}$/.test(linked)) return linked;
  const digest = /(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):/.exec(first("repr-digest") ?? "");
  if (!digest) return undefined;
  return Array.from(atob(digest[1]!), (character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** The hint where a download stops. */
export const KEPT = "check the address and the connection; what was fetched is kept";

const FIRST_WAIT = 1_000; // ms
const LONGEST_WAIT = 30_000;
const LONGEST_RETRY_AFTER = 600_000;

/** Milliseconds that `Retry-After` asks for: seconds or a date. */
function retryAfter(headers: Headers | undefined): number | undefined {
  const text = headers?.get("retry-after")?.trim();
  if (!text) return undefined;
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

/** How long to wait after the `failures`th failure in a row: doubling, with jitter, and no less than the server asks for. `undefined`: give up. */
export function backOff(failures: number, random: () => number, headers?: Headers): number | undefined {
  const asked = retryAfter(headers);
  if (asked !== undefined && asked > LONGEST_RETRY_AFTER) return undefined;
  const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1)) * (0.5 + random() / 2);
  return Math.max(wait, asked ?? 0);
}

/** Whether the same request may succeed later. */
export const isTransient = (status: number): boolean => [408, 425, 429, 500, 502, 503, 504].includes(status);

/** How many times in a row a request may fail without any progress. */
export const ATTEMPTS = 5;

/** What the server says about its refusal, in words. */
export function refusal(url: string, response: Response): EngineError {
  const { status, statusText, headers } = response;
  const code = headers.get("x-error-code"); // Hugging Face's: RepoNotFound, GatedRepo, RevisionNotFound, EntryNotFound
  const token = platform.hasSystem ? "set HF_TOKEN" : "give a token (the option `token`)";
  const hints: Record<number, string> = {
    401: `check the name; for a private or gated model ${token}`,
    403: `for a gated model accept its terms on its page and ${token}`,
    404: "check the name and the revision",
    410: "check the name and the revision",
    429: `too many requests: try again later, or ${token}`,
  };
  return new EngineError("network", `${shown(url)} answers ${[status, statusText, code && `(${code})`].filter(Boolean).join(" ")}`, {
    hint: hints[status] ?? "try again later: what was fetched is kept",
    cause: { status },
  });
}

/** Whether the server was reached and said no for good. */
export const isRefusal = (error: EngineError): boolean => {
  const { status } = (error.cause ?? {}) as { status?: number };
  return status !== undefined && !isTransient(status) && status !== 407 && status !== 511; // those two are a proxy's or a portal's
};

/** A page stands in the place of a file: a single-page host's, a login's. */
export function pageError(name: string, url: string): EngineError {
  const hint = "check the address: it must be the folder of the files themselves; and whether this network wants a login first";
  return new EngineError("network", `the server sent an HTML page in place of ${name} (${shown(url)})`, { hint, cause: { page: true } });
}

/** Whether an error says that the server has sent an HTML page. */
export const isPageError = (error: unknown): boolean => ((error as EngineError | undefined)?.cause as { page?: boolean })?.page === true;

/** Whether the server says that its answer is a page. */
export const saysPage = ({ headers }: Response): boolean => /^text\/html\b/i.test(headers.get("content-type")?.trim() ?? "");

/** A request that is repeated while the server or the way to it fails in passing. Gives every other answer, good or bad. */
export async function persistentRequest(t: Transport, url: string, options: RequestOptions & { attempts?: number }): Promise<Answer> {
  const { attempts = ATTEMPTS, signal } = options;
  for (let failures = 1; ; failures++) {
    let wait: number | undefined;
    try {
      const answer = await request(t, url, options);
      if (!isTransient(answer.response.status)) return answer;
      wait = backOff(failures, t.random, answer.response.headers);
      if (failures >= attempts || wait === undefined) throw refusal(url, answer.response);
      discard(answer.response);
    } catch (cause) {
      if (cause instanceof EngineError || signal?.aborted) throw cause;
      if (failures >= attempts || cause instanceof Silence) throw unreachable(url, cause, KEPT); // whoever waits that long again waits in vain
      wait = backOff(failures, t.random)!;
    }
    await t.sleep(wait, signal);
  }
}
