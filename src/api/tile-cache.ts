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
export class TileCache {
  readonly #most: number;
  readonly #byKey = new Map<string, Entry>();
  readonly #byTiles = new Map<Tiled, Entry>(); // the least recently used first
  readonly #ids = new WeakMap<object, string>();
  readonly #name = crypto.randomUUID();
  #lastId = 0;
  #bytes = 0;

  constructor(most = MOST_BYTES) {
    this.#most = most;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A name for a part of a history, the same every time, and nobody else's: a history goes from one worker's model to another's. */
  idOf(part: object): string {
    const id = this.#ids.get(part) ?? `part ${++this.#lastId} of ${this.#name}`;
    this.#ids.set(part, id);
    return id;
  }

  /** Lets a part go by the name that another one, of the same picture, had. */
  name(part: object, id: string): void {
    this.#ids.set(part, id);
  }

  get(key: string): Tiled | undefined {
    const entry = this.#byKey.get(key);
    if (!entry) return undefined;
    this.#byTiles.delete(entry.tiled);
    this.#byTiles.set(entry.tiled, entry);
    return entry.tiled;
  }

  /** Keeps tiles under one more key, in place of what was there. */
  put(key: string, tiled: Tiled): void {
    const entry = this.#byTiles.get(tiled) ?? { tiled, keys: new Set<string>(), bytes: 0 };
    const before = this.#byKey.get(key);
    if (before === entry) return;
    const bytes = 2 * key.length + (entry.keys.size === 0 ? tiled.tiles.byteLength : 0);
    if (entry.bytes + bytes > this.#most) return;
    if (before) this.#drop(before);
    this.#byKey.set(key, entry);
    this.#byTiles.set(tiled, entry);
    entry.keys.add(key);
    entry.bytes += bytes;
    this.#bytes += bytes;
    for (const oldest of this.#byTiles.values()) {
      if (this.#bytes <= this.#most) break;
      this.#drop(oldest);
    }
  }

  #drop(entry: Entry): void {
    for (const key of entry.keys) this.#byKey.delete(key);
    this.#byTiles.delete(entry.tiled);
    this.#bytes -= entry.bytes;
  }
}
