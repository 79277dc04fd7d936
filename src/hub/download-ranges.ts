import { EngineError } from "../errors.ts";
import { BrokenBody, piecesOf, Silence, shown, unreachable } from "../platform/fetch.ts";
import { type ByteSource, memorySource } from "../safetensors/index.ts";
import { checkPlainName } from "./cache.ts";
import { describe, type RemoteFile } from "./download-describe.ts";
import { bareEtag, contentRange, discard, pageError, persistentRequest, refusal, saysPage, type Transport } from "./download-http.ts";
import { isPage } from "./first-bytes.ts";
import { checkSize, limitOf } from "./foreign.ts";
import type { WeightSource } from "./source-types.ts";

/** Reads exactly `length` bytes of a body and leaves the rest. @throws BrokenBody */
async function take(response: Response, length: number, from: string, idle: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let have = 0;
  for await (const piece of piecesOf(response, idle)) {
    bytes.set(piece.subarray(0, length - have), have);
    have += piece.length;
    if (have >= length) return bytes;
  }
  throw new EngineError("network", `${from} gave ${have} bytes, needs ${length}`, { hint: "try again" });
}

const TRIES = 3; // of a range whose body breaks off

/**
 * A file behind HTTP, of which only the ranges that are read come over the line; nothing is kept.
 *
 * @param size bytes, as the server told
 * @throws EngineError network, from `read`: where the server gives no ranges, or the file changes
 */
export function rangeFile(t: Transport, url: string, name: string, size: number): ByteSource {
  let etag: string | undefined; // of the answers with data: a CDN's is not the origin's

  async function readOnce(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const last = offset + length - 1;
    const { response } = await persistentRequest(t, url, { headers: { range: `bytes=${offset}-${last}` }, signal });
    const own = response.headers.get("etag");
    if (response.status === 206 || response.status === 200) {
      const range = contentRange(response.headers);
      const right = response.status === 200 ? offset === 0 : range?.first === offset && (range.total ?? size) === size;
      if (right && (etag === undefined || own === null || bareEtag(own) === etag)) {
        const bytes = await take(response, length, shown(url), t.idle);
        if (offset === 0 && isPage(bytes, saysPage(response))) throw pageError(name, url);
        if (own !== null) etag = bareEtag(own);
        return bytes;
      }
    }
    discard(response);
    if (!response.ok) throw refusal(url, response);
    if (response.status === 200 && saysPage(response)) throw pageError(name, url);
    const range = response.headers.get("content-range") ?? "a part that it does not name";
    const has = response.status === 200 ? "no ranges" : `${range.slice(0, 80)} (ETag ${own?.slice(0, 80) ?? "none"})`;
    const hint = "download the folder and give its path";
    throw new EngineError("network", `${shown(url)} gives ${has}, needs bytes ${offset} to ${last} of ${size} of the same file`, { hint });
  }

  async function read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    for (let tries = 1; ; tries++) {
      signal?.throwIfAborted();
      try {
        return await readOnce(offset, length, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof BrokenBody)) throw error;
        if (tries === TRIES || error.cause instanceof Silence) throw unreachable(url, error.cause);
      }
    }
  }
  return { name, size, read };
}

/** The size that a file was described with. @throws EngineError network where the server told none */
export function toldSize({ url, size }: RemoteFile): number {
  if (size !== undefined) return size;
  throw new EngineError("network", `${shown(url)} does not tell its length`, { hint: "download the folder and give its path" });
}

/** A small file as a whole: a server that compresses while it sends tells no length. @throws EngineError network, bad-weights where it is too long */
async function wholeFile(t: Transport, url: string, name: string, signal?: AbortSignal): Promise<ByteSource> {
  const { response } = await persistentRequest(t, url, { signal });
  if (!response.ok) throw refusal(url, response);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for await (const piece of piecesOf(response, t.idle)) {
      size += pieces[pieces.push(piece.slice()) - 1]!.length;
      checkSize(name, size);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof BrokenBody ? unreachable(url, error.cause) : error;
  }
  const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
  if (isPage(bytes, saysPage(response))) throw pageError(name, url);
  return memorySource(name, bytes);
}

/** The files below an address, read by ranges. */
export function rangeSource(t: Transport, base: string, signal?: AbortSignal): WeightSource {
  return {
    open: async (name) => {
      checkPlainName(name);
      const url = base + encodeURIComponent(name);
      const remote = await describe(t, url, { signal });
      if ("missing" in remote) return undefined;
      if (remote.size === undefined && limitOf(name) < Number.POSITIVE_INFINITY) return wholeFile(t, url, name, signal);
      return rangeFile(t, url, name, toldSize(remote));
    },
  };
}
