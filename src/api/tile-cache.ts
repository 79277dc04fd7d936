/** The tiles of one source. */
export interface Tiled {
  count: number;
  tiles: Uint8Array; // [count, size, size, 3]
  /** Equal for equal content, one a tile. */
  keys: readonly string[];
}

const MOST_BYTES = 64 * 2 ** 20;

interface Entry {
  tiled: Tiled;
  keys: Set<string>;
  bytes: number; // of the tiles and of the keys: one of those may be a data URL
}

/**
 * Tiles of pictures that were looked at, so that those of a conversation are not read and decoded again for each of its turns. The least
 * recently used go when there are too many bytes; nothing but time depends on what is here.
 */
export function tileCache(most = MOST_BYTES) {
  const byKey = new Map<string, Entry>();
  const byTiles = new Map<Tiled, Entry>(); // the least recently used first
  const ids = new WeakMap<object, string>();
  const own = crypto.randomUUID();
  let [lastId, held] = [0, 0];

  function drop(entry: Entry): void {
    for (const key of entry.keys) byKey.delete(key);
    byTiles.delete(entry.tiled);
    held -= entry.bytes;
  }

  return {
    /** Bytes held. */
    get bytes(): number {
      return held;
    },
    /** A name for a part of a history, the same every time, and nobody else's: a history goes from one worker's model to another's. */
    idOf(part: object): string {
      const id = ids.get(part) ?? `part ${++lastId} of ${own}`;
      ids.set(part, id);
      return id;
    },

    /** Lets a part go by the name that another one, of the same picture, had. */
    name(part: object, id: string): void {
      ids.set(part, id);
    },

    get(key: string): Tiled | undefined {
      const entry = byKey.get(key);
      if (!entry) return undefined;
      byTiles.delete(entry.tiled);
      byTiles.set(entry.tiled, entry);
      return entry.tiled;
    },

    /** Keeps tiles under one more key, in place of what was there. */
    put(key: string, tiled: Tiled): void {
      const entry = byTiles.get(tiled) ?? { tiled, keys: new Set<string>(), bytes: 0 };
      const before = byKey.get(key);
      if (before === entry) return;
      const bytes = 2 * key.length + (entry.keys.size === 0 ? tiled.tiles.byteLength : 0);
      if (entry.bytes + bytes > most) return;
      if (before) drop(before);
      byKey.set(key, entry);
      byTiles.set(tiled, entry);
      entry.keys.add(key);
      entry.bytes += bytes;
      held += bytes;
      for (const oldest of byTiles.values()) {
        if (held <= most) break;
        drop(oldest);
      }
    },
  };
}

/** Tiles of pictures that were cut before, by their content. */
export type TileCache = ReturnType<typeof tileCache>;
