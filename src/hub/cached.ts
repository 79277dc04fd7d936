import { platform } from "#platform";
import type { FileStore } from "../platform/store.ts";
import { INDEX_NAME, parseIndex, SINGLE_NAME } from "../safetensors/index.ts";
import { isCommit, NOTES, PARTIAL, readNotes, repoFolder, repoOf } from "./cache.ts";
import { readSmall } from "./foreign.ts";
import { ADAPTER_FILES, MODEL_FILES, type WeightSource } from "./source-types.ts";

/** A checkpoint that was downloaded, wholly or in part. */
export interface CachedModel {
  /** What to load it by: `org/name`, or the address of its folder. */
  source: string;
  /** What it takes on the disk, all kept versions together. */
  bytes: number;
  /** Branches and tags that are here, and commits that none of them names; none for what lies at an address. */
  revisions: string[];
  /** Whether the newest version is all here. Where not, loading it goes on where the download stopped. */
  complete: boolean;
  /** Notes or folders of it cannot be read, and `source` may be no more than its folder's name: remove it, and load it anew. */
  damaged?: true;
  /** The files that are here, without a look at the server. */
  files: WeightSource;
  /** Deletes it. @throws EngineError bad-input while another page is downloading it */
  remove(): Promise<void>;
}

async function bytesBelow(store: FileStore, folder: string): Promise<number> {
  const sizes = (await store.list(folder)).map(({ name, kind, bytes }) =>
    kind === "folder" ? bytesBelow(store, `${folder}/${name}`) : bytes,
  );
  return (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, 0);
}

/** Files of one folder; names as a checkpoint has them. */
const filesOf = (store: FileStore, folder: string): WeightSource => ({
  open: async (name) => {
    const file = await store.open(`${folder}/${name}`);
    return file && { ...file, name };
  },
});

/** Whether configuration and every file with tensors are there. */
async function isComplete(files: WeightSource, names: ReadonlySet<string>): Promise<boolean> {
  if (!names.has(MODEL_FILES.config)) return names.has(ADAPTER_FILES.config) && names.has(ADAPTER_FILES.single);
  if (names.has(SINGLE_NAME) || !names.has(INDEX_NAME)) return names.has(SINGLE_NAME);
  try {
    return parseIndex((await readSmall(files, INDEX_NAME))!, INDEX_NAME).shards.every((shard) => names.has(shard));
  } catch {
    return false; // loading it says what is wrong with the index
  }
}

async function namesIn(store: FileStore, folder: string): Promise<Set<string>> {
  return new Set((await store.list(folder)).filter(({ kind }) => kind !== "folder").map(({ name }) => name));
}

/** Whether a download into this folder has stopped half-way: ours, or one of huggingface_hub's. */
const isPartial = (name: string): boolean => name.endsWith(PARTIAL) || name.endsWith(".incomplete");

/** What `refs` holds: names, which may have slashes, with the commit of each. */
async function refsBelow(store: FileStore, folder: string, name = ""): Promise<[name: string, commit: string][]> {
  const found = (await store.list(folder + name)).map(async (entry): Promise<[string, string][]> => {
    const path = `${name}/${entry.name}`;
    return entry.kind === "folder"
      ? refsBelow(store, folder, path)
      : [[path.slice(1), (await store.readText(folder + path))?.trim() ?? ""]];
  });
  return (await Promise.all(found)).flat();
}

async function hubModel(store: FileStore, id: string): Promise<CachedModel> {
  const folder = repoFolder(id);
  const commits = (await store.list(`${folder}/snapshots`)).map(({ name }) => name);
  // refs/main is written when everything has come: without it, this is a first download that has not ended, or another revision.
  const noted = (await store.readText(`${folder}/refs/main`))?.trim();
  const refs = await refsBelow(store, `${folder}/refs`);
  const commit = (noted !== undefined && isCommit(noted) ? noted : commits.at(-1)) ?? "none";
  const snapshot = `${folder}/snapshots/${commit}`;
  const files = filesOf(store, snapshot);
  const partial = [...(await namesIn(store, `${folder}/blobs`))].some(isPartial);
  return {
    source: id,
    revisions: [...refs.map(([name]) => name), ...commits.filter((each) => !refs.some(([, commit]) => commit === each))].sort(),
    bytes: await bytesBelow(store, folder),
    complete: !partial && (await isComplete(files, await namesIn(store, snapshot))),
    files,
    async remove() {
      await store.removeFolder(folder);
      await store.removeFolder(`.locks/${folder}`);
    },
  };
}

/** The address that the files of a folder came from, by the first note that tells it; `undefined` where nobody noted it. */
async function notedAddress(store: FileStore, folder: string, names: Iterable<string>): Promise<{ url?: string } | undefined> {
  const notes = [...names].filter((name) => name.endsWith(NOTES));
  for (const name of notes) {
    const url = (await readNotes(store, `${folder}/${name}`))?.url;
    if (url !== undefined) return { url: url.slice(0, url.lastIndexOf("/") + 1) };
  }
  return notes.length > 0 ? {} : undefined;
}

/** `undefined` for a folder of which nobody noted where it came from. */
async function urlModel(store: FileStore, folder: string): Promise<CachedModel | undefined> {
  const names = await namesIn(store, folder);
  const noted = await notedAddress(store, folder, names);
  if (!noted) return undefined;
  const files = filesOf(store, folder);
  return {
    source: noted.url ?? folder,
    revisions: [],
    bytes: await bytesBelow(store, folder),
    complete: noted.url !== undefined && ![...names].some(isPartial) && (await isComplete(files, names)),
    ...(noted.url === undefined ? { damaged: true as const } : {}),
    files,
    remove: () => store.removeFolder(folder),
  };
}

/** An entry that cannot be looked at stands in the list all the same: else nobody could remove it, nor see the others. */
async function orDamaged<T>(store: FileStore, source: string, folder: string, look: Promise<T>): Promise<T | CachedModel> {
  return look.catch(() => ({
    source,
    revisions: [],
    bytes: 0,
    complete: false,
    damaged: true as const,
    files: filesOf(store, folder),
    remove: () => store.removeFolder(folder),
  }));
}

/** As `cachedModels` of the library, which reads the options. */
export async function listCached(cacheDir: string | undefined): Promise<CachedModel[]> {
  const hub = await platform.openStore("hub", cacheDir);
  const urls = await platform.openStore("urls", cacheDir);
  const folders = async (store: FileStore) => (await store.list("")).filter(({ kind }) => kind === "folder").map(({ name }) => name);
  const ids = (await folders(hub)).flatMap((name) => repoOf(name) ?? []);
  const others = (await folders(urls)).filter((name) => /--[0-9a-f]{16}$/.test(name) && !repoOf(name));
  const found = await Promise.all([
    ...ids.map((id) => orDamaged(hub, id, repoFolder(id), hubModel(hub, id))),
    ...others.map((folder) => orDamaged(urls, folder, folder, urlModel(urls, folder))),
  ]);
  return found.filter((model) => model !== undefined).sort((a, b) => a.source.localeCompare(b.source));
}
