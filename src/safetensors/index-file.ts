import { LFS_HINT, LFS_PROBLEM, quote, SafetensorsError } from "./errors.ts";
import { decodeUtf8, type Json, JsonReader } from "./json.ts";

/** `model.safetensors.index.json`: which shard holds which tensor. */
export interface ShardIndex {
  /** The index's own `metadata` (usually `total_size`), as it stands; nothing here relies on it. */
  readonly metadata: ReadonlyMap<string, Json>;
  /** Tensor name → shard file name. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Each shard once, sorted by name. */
  readonly shards: readonly string[];
}

// A shard is looked up beside its index, on disk or by URL: nothing that either could read as a path, drive, stream, query or escape.
const UNSAFE = /[/\\:*?"<>|#%\p{Cc}]/u;

/** Why `name` is not a plain file name, or `undefined` if it is one. */
function unsafe(name: string): string | undefined {
  if (name === "") return "it is empty";
  if (name.startsWith(".")) return "it begins with a dot";
  if (name.length > 255) return `it has ${name.length} characters, the limit is 255`;
  const bad = UNSAFE.exec(name);
  return bad ? `it contains ${quote(bad[0])}` : undefined;
}

/** Reads `{"tensor": "shard", …}`, refusing shard names that are not plain file names. */
function readWeightMap(json: JsonReader, file: string): { weightMap: Map<string, string>; shards: string[] } {
  const weightMap = new Map<string, string>();
  const shards = new Set<string>();
  if (json.peek() !== "{") throw new SafetensorsError(`weight_map is ${json.describe()}, needs an object (tensor to shard)`, { file });
  json.object((tensor) => {
    if (json.peek() !== '"') throw new SafetensorsError(`its shard is ${json.describe()}, needs a file name`, { file, tensor });
    const shard = json.string();
    const reason = shards.has(shard) ? undefined : unsafe(shard);
    if (reason) {
      const hint = "shards must lie beside the index; do not trust this checkpoint";
      throw new SafetensorsError(`its shard ${quote(shard)} is not a plain file name: ${reason}`, { file, tensor, hint });
    }
    shards.add(shard);
    weightMap.set(tensor, shard);
  });
  if (weightMap.size === 0) throw new SafetensorsError("weight_map is empty, needs at least one tensor", { file });
  return { weightMap, shards: [...shards].sort() };
}

/**
 * Parses and checks a shard index. Keys other than `weight_map` and `metadata` are ignored.
 *
 * @param bytes the whole file
 * @param fileName what messages call it
 * @throws SafetensorsError on bad JSON, duplicate keys, a missing or empty map, and shard names that are not plain file names
 */
export function parseIndex(bytes: Uint8Array, fileName: string): ShardIndex {
  const file = fileName;
  const text = decodeUtf8(bytes, file, "the index");
  if (text.startsWith("version https://git-lfs")) throw new SafetensorsError(LFS_PROBLEM, { file, hint: LFS_HINT });
  const json = new JsonReader(text, file);
  const metadata = new Map<string, Json>();
  const maps: ReturnType<typeof readWeightMap>[] = []; // one, as keys are unique
  json.object((key) => {
    if (key === "weight_map") maps.push(readWeightMap(json, file));
    else if (key !== "metadata") json.value();
    else if (json.peek() !== "{") throw new SafetensorsError(`metadata is ${json.describe()}, needs an object`, { file });
    else json.object((name) => metadata.set(name, json.value()));
  });
  json.end();
  const [map] = maps;
  if (!map) throw new SafetensorsError('the index has no "weight_map"', { file });
  return { metadata, ...map };
}
