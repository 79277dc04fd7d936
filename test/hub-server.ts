import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
/** How git, and with it Hugging Face, names a small file. */
export const gitSha1 = (bytes: Uint8Array): string => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

export interface Request {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
}

/** Answers a request, or returns false to leave it to the server's good manners. */
export type Misbehave = (request: Request, response: ServerResponse, server: TestServer) => boolean | undefined;

export interface TestServer {
  origin: string;
  log: Request[];
  /** GET requests for the data of a file. */
  gets(name: string): Request[];
  close(): Promise<void>;
}

/** Answers HEAD and GET with ranges and `If-Range`, as a good server does. */
export function sendFile(
  { method, headers }: Request,
  response: ServerResponse,
  bytes: Uint8Array,
  extra: Record<string, string> = {},
): void {
  const etag = extra.etag ?? `"${gitSha1(bytes)}"`;
  const all = { etag, "accept-ranges": "bytes", ...extra };
  const match = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  const ifRange = headers["if-range"];
  if (match && (ifRange === undefined || ifRange === etag)) {
    const first = Number(match[1]);
    const last = Math.min(match[2] ? Number(match[2]) : bytes.length - 1, bytes.length - 1);
    if (first >= bytes.length) {
      response.writeHead(416, { ...all, "content-range": `bytes */${bytes.length}` }).end();
      return;
    }
    response.writeHead(206, { ...all, "content-length": last - first + 1, "content-range": `bytes ${first}-${last}/${bytes.length}` });
    response.end(method === "HEAD" ? undefined : bytes.subarray(first, last + 1));
    return;
  }
  response.writeHead(200, { ...all, "content-length": bytes.length });
  response.end(method === "HEAD" ? undefined : bytes);
}

async function listen(handle: (request: Request, response: ServerResponse, server: TestServer) => void): Promise<TestServer> {
  const log: Request[] = [];
  const http = createServer((incoming, response) => {
    const request = { method: incoming.method!, path: incoming.url!, headers: incoming.headers };
    log.push(request);
    handle(request, response, server);
  });
  await new Promise<void>((fulfil) => http.listen(0, "127.0.0.1", fulfil));
  const server: TestServer = {
    origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    log,
    gets: (name) => log.filter(({ method, path }) => method === "GET" && path.split("?")[0]!.endsWith(`/${name}`)),
    close: () =>
      new Promise((fulfil) => {
        http.closeAllConnections();
        http.close(() => fulfil());
      }),
  };
  return server;
}

/** Files at `/folder/NAME`. */
export function fileServer(files: Record<string, Uint8Array>, misbehave?: Misbehave): Promise<TestServer> {
  return listen((request, response, server) => {
    if (misbehave?.(request, response, server)) return;
    const bytes = files[request.path.replace(/^\/folder\//, "")];
    if (bytes) sendFile(request, response, bytes);
    else response.writeHead(404).end();
  });
}

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** A repository as Hugging Face serves it: small files itself, large ones by a redirect to a CDN, which is another server. */
export async function hubServer(
  id: string,
  files: Record<string, Uint8Array>,
  { misbehave, cdnMisbehave, commit = COMMIT }: { misbehave?: Misbehave; cdnMisbehave?: Misbehave; commit?: string | null } = {},
): Promise<TestServer & { cdn: TestServer }> {
  const cdn = await listen((request, response, server) => {
    if (cdnMisbehave?.(request, response, server)) return;
    const bytes = files[request.path.split("?")[0]!.slice(1)];
    // A signed address is good for GET only, as S3's are.
    if (!bytes || request.method === "HEAD") response.writeHead(403).end();
    else sendFile(request, response, bytes, { etag: `"cdn-${sha256(bytes).slice(0, 8)}"` });
  });
  const hub = await listen((request, response, server) => {
    if (misbehave?.(request, response, server)) return;
    const match = new RegExp(`^/${id}/resolve/[^/]+/([^/]+)$`).exec(request.path);
    if (!match) {
      response.writeHead(401, { "x-error-code": "RepoNotFound" }).end();
      return;
    }
    const told: Record<string, string> = commit === null ? {} : { "x-repo-commit": commit };
    const bytes = files[decodeURIComponent(match[1]!)];
    if (!bytes) response.writeHead(404, { ...told, "x-error-code": "EntryNotFound" }).end();
    else if (!match[1]!.endsWith(".safetensors")) sendFile(request, response, bytes, told);
    else {
      const location = `${cdn.origin}/${match[1]}?signature=secret`;
      response
        .writeHead(302, { ...told, location, "x-linked-etag": `"${sha256(bytes)}"`, "x-linked-size": bytes.length, "content-length": 0 })
        .end();
    }
  });
  return {
    ...hub,
    cdn,
    close: async () => {
      await hub.close();
      await cdn.close();
    },
  };
}

/** What Hugging Face and its CDN tell browsers of other origins that they may send and see. */
export function allowPages({ method }: Request, response: ServerResponse): boolean {
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader(
    "access-control-expose-headers",
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag",
  );
  if (method !== "OPTIONS") return false;
  response.writeHead(204, { "access-control-allow-headers": "range, if-range, authorization" }).end();
  return true;
}

export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "internvl-sources-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Every file below a folder (links followed), by its path from there. */
export function filesBelow(folder: string): Record<string, Buffer> {
  const names = readdirSync(folder, { recursive: true }) as string[];
  return Object.fromEntries(
    names.filter((name) => statSync(join(folder, name)).isFile()).map((name) => [name, readFileSync(join(folder, name))]),
  );
}

/** Calls `then` once a file of so many bytes lies below a folder: whoever fetches them has them, however busy the machine is. */
export function whenHeld(folder: string, bytes: number, then: () => void): void {
  const held = (readdirSync(folder, { recursive: true }) as string[]).some((name) => {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false }); // files come and go
    return stats?.isFile() && stats.size === bytes;
  });
  if (held) then();
  else setTimeout(() => whenHeld(folder, bytes, then), 5);
}

/** A million bytes or fewer that look like nothing. */
export function noise(length: number, seed = 1): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}
