import { EngineError, throwIfAborted } from "../errors.ts";
import { sizeText } from "../options.ts";

/** Milliseconds without an answer, or without a byte of it, after which a connection counts as dead. */
export const IDLE = 30_000;

/** Nothing came for too long. */
export class Silence extends Error {
  constructor(what: string, idle: number) {
    super(`${what} came for ${idle / 1000} s`);
  }
}

/** The body broke off; the cause tells why. Not to be mistaken for what the disk throws meanwhile. */
export class BrokenBody extends Error {}

/** An address for messages: without its query, which may hold a signature, and without a user's name and password. */
export function shown(url: string): string {
  if (!URL.canParse(url)) return JSON.stringify(url.replace(/\/\/[^/]*@/, "//").slice(0, 100));
  const { protocol, origin, pathname } = new URL(url);
  if (protocol === "data:") return "the data URL";
  return `${origin === "null" || protocol === "blob:" ? protocol : origin}${pathname}`.slice(0, 300); // a Blob's page stands in its path
}

/**
 * The scheme of an address of a kind that is not read: `ftp`, `about`. File names may hold a colon: where no slashes follow it, only what is
 * known to be one is a scheme.
 */
export const otherScheme = (text: string): string | undefined =>
  /^([a-z][\w+.-]+(?=:\/\/)|about|blob|cid|data|filesystem|intent|javascript|mailto|tel|urn|view-source):/i.exec(text)?.[1];

/** fetch says "fetch failed"; the reason is in its cause. */
export function unreachable(url: string, cause: unknown, hint = "check the address and the connection"): EngineError {
  const { message, cause: inner } = cause as Error;
  const { code, message: reason } = (inner ?? {}) as { code?: string; message?: string };
  return new EngineError("network", `cannot fetch ${shown(url)}: ${[message, reason || code].filter(Boolean).join(": ")}`, { hint, cause });
}

/** `fetch` that waits no longer than `idle` milliseconds for an answer to begin. @throws Silence, and what fetch rejects with */
export async function answerOf(ask: typeof fetch, url: string, init: RequestInit, idle: number): Promise<Response> {
  const silence = new AbortController();
  const signal = init.signal ? AbortSignal.any([init.signal, silence.signal]) : silence.signal;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Silence("no answer", idle);
      reject(error);
      silence.abort(error);
    }, idle);
  });
  try {
    return await Promise.race([ask(url, { ...init, signal }), stalled]);
  } finally {
    clearTimeout(timer);
  }
}

/** The pieces of a body; a connection that gives nothing for `idle` milliseconds is cut. @throws BrokenBody */
export async function* piecesOf(response: Response, idle: number): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;
  try {
    for (;;) {
      const stalled = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Silence("no byte", idle)), idle);
      });
      const piece = await Promise.race([reader.read(), stalled])
        .catch((cause: unknown) => Promise.reject(new BrokenBody("the body broke off", { cause })))
        .finally(() => clearTimeout(timer));
      if (piece.done) {
        ended = true;
        return;
      }
      yield piece.value;
    }
  } finally {
    if (!ended) void reader.cancel().catch(() => {}); // not awaited: a dead connection may never say that it is closed
  }
}

/** What a fetch may take at most. */
export interface FetchLimits {
  /** How messages call what is fetched: `image 2`. */
  what: string;
  /** The most that is taken, in bytes, counted after decompression. */
  maxBytes: number;
  signal?: AbortSignal | undefined;
  /** Milliseconds without an answer, or without a byte of it, after which the server counts as dead. */
  idleMs?: number | undefined;
  /** In place of the global fetch. */
  fetch?: typeof fetch | undefined;
}

/**
 * The bytes behind an address, of which there may be no more than `maxBytes`, whatever length the server tells.
 *
 * @throws EngineError bad-input (no address), network, limit-exceeded, aborted
 */
export async function fetchLimited(
  url: string,
  { what, maxBytes, signal, idleMs = IDLE, fetch: ask = fetch }: FetchLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = (has: string): EngineError =>
    new EngineError("limit-exceeded", `${what} (${shown(url)}) has ${has}, the limit is ${sizeText(maxBytes)}`, {
      hint: "give a smaller file",
    });
  // fetch's own error would repeat the password.
  const right = URL.canParse(url) && new URL(url);
  if (!right || right.username || right.password) {
    const hint = "give a plain http(s) or data URL";
    throw new EngineError("bad-input", `${what}: ${shown(url)} ${right ? "has a user's name or password" : "is not an address"}`, { hint });
  }
  const pieces: Uint8Array[] = [];
  let have = 0;
  try {
    signal?.throwIfAborted();
    const response = await answerOf(ask, url, signal ? { signal } : {}, idleMs);
    const length = Number(response.headers.get("content-length") ?? 0);
    if (!response.ok || length > maxBytes) {
      void response.body?.cancel().catch(() => {}); // nobody wants the rest
      if (response.ok) throw tooLong(sizeText(length));
      const hint = "check the address";
      throw new EngineError("network", `${what}: ${shown(url)} answers ${`${response.status} ${response.statusText}`.trim()}`, { hint });
    }
    for await (const piece of piecesOf(response, idleMs)) {
      signal?.throwIfAborted();
      have += piece.length;
      if (have > maxBytes) throw tooLong(`more than ${sizeText(maxBytes)}`);
      pieces.push(piece);
    }
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throwIfAborted(signal);
    throw unreachable(url, cause instanceof BrokenBody ? cause.cause : cause);
  }
  const bytes = new Uint8Array(have);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
