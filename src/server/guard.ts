import { Refusal } from "./failure.ts";
import type { Settings } from "./options.ts";

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));

/** Whether two secrets are equal; how long it takes says nothing of where they differ. */
async function same(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([digest(a), digest(b)]);
  let differs = 0;
  for (let i = 0; i < x.length; i++) differs |= x[i]! ^ y[i]!;
  return differs === 0;
}

/** @throws Refusal 401 */
export async function checkKey({ headers }: Request, { apiKey }: Settings): Promise<void> {
  if (apiKey === undefined) return;
  const given = /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1] ?? "";
  if (await same(given, apiKey)) return;
  throw new Refusal(401, "Incorrect API key provided", "invalid_api_key", { "www-authenticate": "Bearer" });
}

/** @throws Refusal 403 where a browser was led here by another name */
export function checkHost({ headers, url }: Request, { hosts }: Settings): void {
  if (hosts.length === 0) return;
  const host = (headers.get("host") ?? new URL(url).host).replace(/:\d+$/, "").toLowerCase();
  if (hosts.some((each) => each.toLowerCase() === host)) return;
  const hint = "a proxy in front has to send one of them as Host, or start the server with --allow-hosts NAME";
  throw new Refusal(403, `this server does not answer under this name, but as ${hosts.join(", ")}: ${hint}`, "forbidden_host");
}

/** Counts what is under way, of bytes and of answers, so that there is an end to it. */
export class Load {
  bytes = 0;
  answers = 0;
}

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json[ \t]*(?:;|$)/i;

/**
 * The JSON body of a request. Another content type is refused: pages may send only those to a server that has not asked them to.
 *
 * @param keep is called with the body's bytes: they are under way until its answer has ended
 * @throws Refusal 400, 413, 415, 429
 */
export async function readJson(request: Request, { maxBody }: Settings, load: Load, keep: (bytes: number) => void): Promise<unknown> {
  if (!JSON_TYPE.test(request.headers.get("content-type")?.trim() ?? ""))
    throw new Refusal(415, "the content type must be application/json");
  const type = request.headers.get("content-type")!;
  const encoding = request.headers.get("content-encoding") ?? "identity";
  const charset = /;\s*charset="?([^";\s]+)/i.exec(type)?.[1] ?? "utf-8";
  if (encoding.toLowerCase() !== "identity" || !/^utf-?8$/i.test(charset))
    throw new Refusal(415, "the body must be JSON in UTF-8, not compressed");
  const over = () => new Refusal(413, `the request has more than ${maxBody} bytes`, "request_too_large");
  if (Number(request.headers.get("content-length") ?? 0) > maxBody) throw over();
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const reader = request.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
    bytes += read.value.length;
    const full = load.bytes + read.value.length > 8 * maxBody;
    if (bytes > maxBody || full) {
      void reader!.cancel().catch(() => {});
      throw full && bytes <= maxBody ? new Refusal(429, "too many bytes are under way", "overloaded", { "retry-after": "1" }) : over();
    }
    keep(read.value.length);
    pieces.push(read.value);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await new Blob(pieces as BlobPart[]).arrayBuffer()));
  } catch {
    throw new Refusal(400, "the body is not JSON, or not UTF-8");
  }
}
