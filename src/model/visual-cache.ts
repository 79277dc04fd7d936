import { EngineError } from "../errors.ts";

/** Where the visual tokens of a prompt's tiles are. */
export interface VisualLayout {
  /** Visual tokens a tile. */
  perTile: number;
  /** Of each tile: its visual tokens are the rows place · perTile … of the visual buffer. */
  places: readonly number[];
  /** The tiles that have to run first, one of each content. */
  missing: number[];
}

/**
 * Whose visual tokens the rows of the visual buffer hold, by the content of the tile: the same picture in another conversation, in another
 * slot or behind another system message is not encoded again, nor is the same tile of one page. The buffer has a row for every position of a
 * prompt, so that any prompt fits; what others leave free of it is the cache, and costs no memory beside it. The least recently used go.
 */
export function visualCache(rows: number) {
  const held = new Map<string, number>(); // places by content, the least recently used first
  let size = 0; // visual tokens a tile

  const evict = (): number => {
    const [[key, place]] = held as unknown as [[string, number]]; // the oldest one: those of this prompt are the youngest
    held.delete(key);
    return place;
  };

  return {
    /**
     * Gives each tile of a prompt a place, from `first` on; no other prompt's tiles may run before those of this one, and what reads them, are
     * submitted. What gives way is forgotten at once, what is missing is held once `fill` says that it is on its way.
     *
     * @throws EngineError context-overflow for more tiles than there is room for
     */
    place(keys: readonly string[], first: number, perTile: number): VisualLayout {
      if (perTile !== size) held.clear(); // tiles of another size
      size = perTile;
      const room = Math.floor(rows / perTile);
      const wanted = new Set(keys.slice(first));
      if (wanted.size > room) {
        const gives = `${wanted.size} tiles give ${wanted.size * perTile} visual tokens`;
        const hint = "use fewer tiles (maxTiles) or a larger maxContext";
        throw new EngineError("context-overflow", `${gives}, the context has ${rows}`, { hint });
      }
      const known = new Map<string, number>();
      for (const key of wanted) {
        const place = held.get(key);
        if (place === undefined) continue;
        known.set(key, place);
        held.delete(key);
        held.set(key, place);
      }
      const taken = new Set(held.values());
      const free = Array.from({ length: room }, (_, place) => place).filter((place) => !taken.has(place));
      const missing: number[] = [];
      const places = keys.map((key, tile) => {
        if (tile < first) return 0; // not read
        const place = known.get(key) ?? free.shift() ?? evict();
        if (!known.has(key)) missing.push(tile);
        known.set(key, place);
        return place;
      });
      return { perTile, places, missing };
    },
    /** The visual tokens of a tile are on their way to its place. */
    fill: (key: string, place: number): void => void held.set(key, place),
  };
}

/** Visual tokens that are held on the GPU, by their tiles' content. */
export type VisualCache = ReturnType<typeof visualCache>;
