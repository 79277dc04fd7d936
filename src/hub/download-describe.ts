import { piecesOf } from "../platform/fetch.ts";
import {
  type Answer,
  bareEtag,
  contentLength,
  contentRange,
  discard,
  persistentRequest,
  refusal,
  saysPage,
  type Transport,
  toldSha256,
} from "./download-http.ts";
import { ENOUGH, isPage } from "./first-bytes.ts";

/** What a server says about a file before it sends it. */
export interface RemoteFile {
  url: string;
  /** Bytes. */
  size?: number | undefined;
  /** Without quotes: of the file itself where a CDN delivers it (`x-linked-etag`), else the answer's own. */
  etag?: string | undefined;
  lastModified?: string | undefined;
  /** 64 hexadecimal digits. */
  sha256?: string | undefined;
  /** The commit of a Hugging Face repository that the answer is about. */
  commit?: string | undefined;
}

/** What the server knows of a file that it does not have. */
export interface MissingFile {
  /** `perhaps`: some stores answer 403 for what does not exist. `page`: a web page stands in its place, as single-page hosts have it. */
  missing: "certainly" | "perhaps" | "page";
  /** How the server put it. */
  answer: Response;
  commit?: string | undefined;
}

const wholeNumber = (text: string | undefined): number | undefined => (text && /^\d+$/.test(text) ? Number(text) : undefined);

function describeAnswer(url: string, { response, first }: Answer): RemoteFile {
  const linked = first("x-linked-etag");
  const own = response.headers.get("etag") ?? undefined;
  const isWhole = response.status === 200;
  return {
    url,
    size: wholeNumber(first("x-linked-size")) ?? (isWhole ? contentLength(response.headers) : contentRange(response.headers)?.total),
    etag: linked || own ? bareEtag((linked ?? own)!) : undefined,
    lastModified: response.headers.get("last-modified") ?? undefined,
    sha256: toldSha256(first),
    commit: first("x-repo-commit"),
  };
}

/** Whether what the server calls a page is one: some call everything so that they do not know. */
async function isReallyPage(t: Transport, url: string, signal: AbortSignal | undefined): Promise<boolean> {
  const { response } = await persistentRequest(t, url, { signal, headers: { range: `bytes=0-${ENOUGH - 1}` } });
  try {
    for await (const piece of piecesOf(response, t.idle)) return isPage(piece, true);
  } catch {
    signal?.throwIfAborted();
    return true; // whoever wants the file hears the reason when it is fetched
  }
  return false; // an empty file
}

/** How a server is asked what a file is. */
export interface DescribeOptions {
  signal?: AbortSignal | undefined;
  /** How often to try before the server counts as unreachable. */
  attempts?: number | undefined;
  /** The checkpoint may do without this file. */
  optional?: boolean;
}

/**
 * Asks for a file's size, ETag and hash. Uses HEAD, and where a server or a signed address refuses that, a GET of one byte.
 *
 * @throws EngineError network where the server refuses or cannot be reached; "there is no such file" is not a refusal
 */
export async function describe(
  t: Transport,
  url: string,
  { signal, attempts, optional = false }: DescribeOptions = {},
): Promise<RemoteFile | MissingFile> {
  const options = {
    signal,
    ...(attempts ? { attempts } : {}),
    stopAt: ({ headers }: Response) => headers.has("x-linked-size") && headers.has("x-linked-etag"),
  };
  let answer = await persistentRequest(t, url, { ...options, method: "HEAD" });
  const { status } = answer.response;
  if ([400, 405, 501].includes(status) || (status === 403 && !answer.response.headers.has("x-error-code"))) {
    discard(answer.response);
    answer = await persistentRequest(t, url, { ...options, headers: { range: "bytes=0-0" } });
  }
  const { response, first } = answer;
  discard(response);
  if (response.ok && saysPage(response) && (await isReallyPage(t, url, signal))) return { missing: "page", answer: response };
  if (response.ok || (response.status >= 300 && response.status < 400)) return describeAnswer(url, answer);
  if (response.status === 416) return { ...describeAnswer(url, answer), size: 0 }; // no byte at 0: the file is empty
  const code = first("x-error-code");
  if ([404, 410].includes(response.status) && code !== "RepoNotFound" && code !== "RevisionNotFound") {
    return { missing: "certainly", answer: response, commit: first("x-repo-commit") };
  }
  if (optional && response.status === 403 && code === undefined) return { missing: "perhaps", answer: response };
  throw refusal(url, response);
}
