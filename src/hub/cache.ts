import { EngineError } from "../errors.ts";
import { newSha256 } from "../platform/sha256.ts";
import type { FileStore } from "../platform/store.ts";
import type { RemoteFile } from "./download-describe.ts";

/** Where the files of one checkpoint come from, and where they are kept. Paths are in the store. */
export interface CheckpointCache {
  store: FileStore;
  /** Where messages say it comes from. */
  title: string;
  url(name: string): string;
  /** The state of the repository that all files must be of. */
  commit?: string;
  /** The file's path, where it is certainly the right one; `null` where there is certainly none; `undefined`: ask the server. */
  known(name: string): Promise<string | null | undefined>;
  /** The path of a copy that is what the server describes. */
  current(name: string, remote: RemoteFile): Promise<string | undefined>;
  /** Remembers that the server has no such file. */
  absent(name: string): Promise<void>;
  /** Where a download goes; only one process at a time goes behind the lock. */
  place(name: string, remote: RemoteFile): { to: string; partial: string; lock: string };
  /** Gives a finished download its name; its path. */
  settle(name: string, remote: RemoteFile): Promise<string>;
  /** The last copy, however old, for when the server cannot be reached. */
  last(name: string): Promise<string | undefined>;
  /** Everything is here. */
  complete(): Promise<void>;
}

/** A note that saves work next time. A cache that may not be written to does without. */
async function unlessReadOnly(store: FileStore, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (await store.isWritable()) throw error;
  }
}

/** Behind the name of a file that is not whole yet. */
export const PARTIAL = ".internvl-partial";
/** Behind the name of a file from a plain address: what the server said about it. */
export const NOTES = ".internvl.json";

/** SHA-256 of a text in UTF-8, in hexadecimal. */
export function sha256Of(text: string): string {
  const hash = newSha256();
  hash.update(new TextEncoder().encode(text));
  return hash.hex();
}

/** Whether a name is one part of a path on every system, and of a URL once it is escaped. */
const isPlainName = (name: string): boolean => /^[^./\\:*?"<>|\p{Cc}][^/\\:*?"<>|\p{Cc}]{0,254}$/u.test(name);

/** @throws EngineError bad-input for a name that is none */
export function checkPlainName(name: string): void {
  if (!isPlainName(name))
    throw new EngineError("bad-input", `${JSON.stringify(name)} is not a plain file name`, { hint: "name a file of the folder itself" });
}

/** Whether a revision is a commit: what lies there never changes. */
export const isCommit = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

async function exists(store: FileStore, path: string): Promise<boolean> {
  const source = await store.open(path);
  await source?.close?.();
  return source !== undefined;
}

/** The folder of a repository in Hugging Face's cache. */
export const repoFolder = (id: string): string => `models--${id.replaceAll("/", "--")}`;

/** The id whose folder this is; `undefined` for any other folder. Names hold no `--`. */
export function repoOf(folder: string): string | undefined {
  const [kind, ...parts] = folder.split("--");
  return kind === "models" && parts.length === 2 && parts.every(Boolean) ? parts.join("/") : undefined;
}

/** The commit that a branch or tag had when it was last asked for. */
export async function cachedCommit(store: FileStore, id: string, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const commit = (await store.readText(`${repoFolder(id)}/refs/${revision}`))?.trim();
  return commit && isCommit(commit) ? commit : undefined;
}

/**
 * Hugging Face's own cache, as https://huggingface.co/docs/hub/local-cache describes it, so that both libraries use each other's files:
 * `blobs/ETAG` (SHA-1 of git files, SHA-256 of large ones), `snapshots/COMMIT/NAME` links there, `refs/REVISION` holds a commit,
 * an empty `.no_exist/COMMIT/NAME` stands for a file that the repository does not have.
 */
export function hubCache(
  store: FileStore,
  { id, revision, commit, base }: { id: string; revision: string; commit: string; base: string },
): CheckpointCache {
  const folder = repoFolder(id);
  const snapshot = (name: string): string => `${folder}/snapshots/${commit}/${name}`;
  // An ETag comes from the server: only what cannot be a path is used as a name.
  const blobName = (name: string, { etag }: RemoteFile): string =>
    etag && /^[0-9A-Za-z_-]{8,128}$/.test(etag) ? etag : sha256Of(`${commit} ${name} ${etag ?? ""}`);
  const blob = (name: string, remote: RemoteFile): string => `${folder}/blobs/${blobName(name, remote)}`;
  const last = async (name: string) => ((await exists(store, snapshot(name))) ? snapshot(name) : undefined);

  return {
    store,
    title: `${id} at ${revision === commit ? commit.slice(0, 8) : revision}`,
    url: (name) => base + encodeURIComponent(name),
    commit,
    last,
    async known(name) {
      return (await last(name)) ?? ((await exists(store, `${folder}/.no_exist/${commit}/${name}`)) ? null : undefined);
    },
    async current(name, remote) {
      if (!(await exists(store, blob(name, remote)))) return undefined;
      await unlessReadOnly(store, () => store.link(blob(name, remote), snapshot(name)));
      return (await last(name)) ?? blob(name, remote);
    },
    absent: (name) => unlessReadOnly(store, () => store.writeText(`${folder}/.no_exist/${commit}/${name}`, "")),
    place: (name, remote) => ({
      to: blob(name, remote),
      partial: blob(name, remote) + PARTIAL, // not huggingface_hub's .incomplete: that is under a lock which Node cannot take
      lock: `.locks/${folder}/${blobName(name, remote)}.internvl-lock`,
    }),
    async settle(name, remote) {
      await store.link(blob(name, remote), snapshot(name));
      return snapshot(name);
    },
    async complete() {
      const path = `${folder}/refs/${revision}`;
      if (revision === commit || (await store.readText(path)) === commit) return;
      await unlessReadOnly(store, () => store.writeText(path, commit));
    },
  };
}

/** What tells whether a cached copy is still what the server has. */
interface Validators {
  url: string;
  etag?: string | undefined;
  lastModified?: string | undefined;
  size?: number | undefined;
}

/** What was noted about a file; `undefined` where there is no note, or it is damaged: then the file is fetched anew. */
export async function readNotes(store: FileStore, path: string): Promise<Validators | undefined> {
  try {
    const notes = JSON.parse((await store.readText(path)) ?? "null") as Validators | null;
    return notes && typeof notes.url === "string" && URL.canParse(notes.url) ? notes : undefined;
  } catch {
    return undefined;
  }
}

/** Files from any other address: a folder for each, `NAME` and, in `NAME.internvl.json`, what the server said about it. */
export function urlCache(store: FileStore, base: string): CheckpointCache {
  const folder = `${new URL(base).hostname.replace(/[^0-9A-Za-z.-]/g, "_")}--${sha256Of(base).slice(0, 16)}`;
  const path = (name: string): string => `${folder}/${name}`;
  const notes = (name: string): string => path(name) + NOTES;
  const last = async (name: string) => ((await exists(store, path(name))) ? path(name) : undefined);

  return {
    store,
    title: base,
    url: (name) => base + encodeURIComponent(name),
    last,
    known: async () => undefined, // a plain address has no commit: always ask
    async current(name, { etag, lastModified, size }) {
      const source = await store.open(path(name));
      await source?.close?.();
      const was = await readNotes(store, notes(name));
      if (!source || !was || (etag === undefined && lastModified === undefined)) return undefined;
      const same = was.etag === etag && was.lastModified === lastModified && (size === undefined || source.size === size);
      return same ? path(name) : undefined;
    },
    absent: async () => {},
    place: (name) => ({ to: path(name), partial: path(name) + PARTIAL, lock: `${path(name)}.internvl-lock` }),
    async settle(name, { url, etag, lastModified, size }) {
      await store.writeText(notes(name), JSON.stringify({ url, etag, lastModified, size } satisfies Validators));
      return path(name);
    },
    complete: async () => {},
  };
}
