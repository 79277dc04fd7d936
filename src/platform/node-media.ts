import { lookup } from "node:dns/promises";
import { open, realpath } from "node:fs/promises";
import { get as getHttp, type IncomingMessage } from "node:http";
import { get as getHttps } from "node:https";
import { BlockList, isIP } from "node:net";
import { join, sep } from "node:path";
import { EngineError } from "../errors.ts";
import type { Media, MediaLimits } from "./platform.ts";

/** Where nobody on the internet is: this machine, its networks, addresses for tests and for many (IANA's special-purpose registries). */
const V4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
];
/** Of IPv6 only global unicast is public, without what stands for IPv4 addresses (Teredo, 6to4), documentation and benchmarks. */
const V6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

const reserved = new BlockList();
for (const [family, nets] of [["ipv4", V4] as const, ["ipv6", V6] as const]) {
  for (const net of nets) reserved.addSubnet(net.split("/")[0]!, Number(net.split("/")[1]), family);
}
const global6 = new BlockList();
global6.addSubnet("2000::", 3, "ipv6");

/** Whether an address is one of the internet. */
export function isPublic(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !reserved.check(address, "ipv4");
  return version === 6 && global6.check(address, "ipv6") && !reserved.check(address, "ipv6");
}

const refused = (url: URL, why: string, cause?: unknown) =>
  new EngineError("network", `cannot fetch a picture from ${url.host}: ${why}`, {
    cause,
    hint: "check its address, or give it as a data URL",
  });

/** The one address that a host is asked at: every address that its name has must be public, else the name could be chosen to reach in. */
async function pinned(url: URL, trusted: (address: string) => boolean): Promise<{ address: string; family: number }> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const found = isIP(host)
    ? [{ address: host, family: isIP(host) }]
    : await lookup(host, { all: true }).catch((cause) => Promise.reject(refused(url, "its name is not known", cause)));
  const inner = found.find(({ address }) => !trusted(address));
  if (inner || found.length === 0) throw refused(url, "its address is not one of the internet");
  return found[0]!;
}

async function bodyOf(url: URL, answer: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const { statusCode = 0, headers } = answer;
  if (statusCode >= 300 && statusCode < 400) throw refused(url, "it answers with a redirect, which is not followed");
  if (statusCode !== 200) throw refused(url, `it answers with status ${statusCode}`);
  if (!/^image\/[\w.+-]+/i.test(headers["content-type"] ?? "")) throw refused(url, "what it sends is not a picture");
  if (Number(headers["content-length"] ?? 0) > maxBytes)
    throw new EngineError("limit-exceeded", `a picture from ${url.host} has more than ${maxBytes} bytes`, {
      hint: "give a smaller picture",
    });
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > maxBytes)
      throw new EngineError("limit-exceeded", `a picture from ${url.host} has more than ${maxBytes} bytes`, {
        hint: "give a smaller picture",
      });
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** @param trusted which addresses may be asked: those of the internet */
export async function fetchPublic(url: URL, { maxBytes, seconds }: MediaLimits, trusted = isPublic): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(seconds * 1000);
  try {
    const { address, family } = await pinned(url, trusted);
    signal.throwIfAborted();
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const get = url.protocol === "https:" ? getHttps : getHttp;
      // The name goes into the request and the certificate's check; the connection is made to the address that was looked at.
      const pin = ((_host: string, options: { all?: boolean }, done: (...found: unknown[]) => void) =>
        options.all ? done(null, [{ address, family }]) : done(null, address, family)) as never;
      get(url, { lookup: pin, agent: false, signal, headers: { accept: "image/*" } }, resolve).on("error", reject);
    });
    try {
      return await bodyOf(url, answer, maxBytes);
    } finally {
      answer.destroy();
    }
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw refused(url, signal.aborted ? `nothing whole came in ${seconds} s` : "the connection fails", error);
  }
}

async function readBelow(folder: string, path: string, maxBytes: number): Promise<Uint8Array> {
  const nothing = (cause?: unknown) =>
    new EngineError("bad-input", "the media folder has no such file", { cause, hint: "give its path below the folder, file:///NAME" });
  const root = await realpath(folder);
  const file = await realpath(join(root, path)).catch((cause: unknown) => Promise.reject(nothing(cause)));
  if (!file.startsWith(root.endsWith(sep) ? root : root + sep)) throw nothing();
  const handle = await open(file, "r").catch((cause: unknown) => Promise.reject(nothing(cause)));
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw nothing();
    if (stat.size > maxBytes)
      throw new EngineError("limit-exceeded", `a file of the media folder has ${stat.size} bytes, at most ${maxBytes} are allowed`, {
        hint: "give a smaller file",
      });
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** Where a server takes pictures from in Node: public addresses, and files below a folder. */
export const media: Media = { fetchPublic: (url, limits) => fetchPublic(url, limits), readBelow };
