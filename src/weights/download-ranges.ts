import { EngineError } from "../errors.ts";
import type { ByteSource } from "../safetensors/index.ts";
import { isPlainName } from "./cache.ts";
import { describe } from "./download-describe.ts";
import { bareEtag, contentRange, discard, persistentRequest, refusal, shown, type Transport } from "./download-http.ts";
import type { WeightSource } from "./source-types.ts";

/** Reads exactly `length` bytes of a body and leaves the rest. */
async function take(response: Response, length: number, from: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let have = 0;
  const reader = response.body?.getReader();
  try {
    while (reader && have < length) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes.set(value.subarray(0, length - have), have);
      have += value.length;
    }
  } finally {
    await reader?.cancel().catch(() => {});
  }
  if (have < length) throw new EngineError("network", `${from} gave ${have} bytes, needs ${length}`, { hint: "try again" });
  return bytes;
}

/**
 * A file behind HTTP, of which only the ranges that are read come over the line; nothing is kept.
 *
 * @returns `undefined` where the server has no such file
 * @throws EngineError network, also from `read`: where the server gives no ranges, or the file changes
 */
export async function openRanges(t: Transport, url: string, name: string, signal?: AbortSignal): Promise<ByteSource | undefined> {
  const remote = await describe(t, url, { signal });
  if ("missing" in remote) return undefined;
  const { size } = remote;
  if (size === undefined) {
    throw new EngineError("network", `${shown(url)} does not tell its length`, { hint: "download the folder and give its path" });
  }
  let etag: string | undefined; // of the answers with data: a CDN's is not the origin's

  async function read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    if (length === 0) return new Uint8Array(0);
    const last = offset + length - 1;
    const { response } = await persistentRequest(t, url, { headers: { range: `bytes=${offset}-${last}` }, signal });
    const own = response.headers.get("etag");
    if (response.status === 206 || response.status === 200) {
      const range = contentRange(response.headers);
      const right = response.status === 200 ? offset === 0 : range?.first === offset && (range.total ?? size) === size;
      if (right && (etag === undefined || own === null || bareEtag(own) === etag)) {
        if (own !== null) etag = bareEtag(own);
        return take(response, length, shown(url));
      }
    }
    await discard(response);
    if (!response.ok) throw refusal(url, response);
    const has = response.status === 200 ? "no ranges" : `${response.headers.get("content-range")} (ETag ${own})`;
    throw new EngineError("network", `${shown(url)} gives ${has}, needs bytes ${offset} to ${last} of ${size} of the same file`, {
      hint: "download the folder and give its path",
    });
  }
  return { name, size, read };
}

/** The files below an address, read by ranges. */
export function rangeSource(t: Transport, base: string, signal?: AbortSignal): WeightSource {
  return {
    open: async (name) => {
      if (!isPlainName(name)) throw new EngineError("bad-input", `${JSON.stringify(name)} is no plain file name`);
      return openRanges(t, base + encodeURIComponent(name), name, signal);
    },
  };
}
