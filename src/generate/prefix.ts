/** What a row's KV cache holds, from position 0 on: ids, and for those that stand for image content, which content. */
export interface Held {
  ids: readonly number[];
  /** The content of each tile, in the order of its visual tokens. */
  tiles: readonly string[];
}

/** What an empty cache holds. */
export const NOTHING: Held = { ids: [], tiles: [] };

/**
 * How many positions of a prompt a cache already holds. Visual tokens all have one id: they are equal if the content of their tile is.
 * At most all but the last: its logits are needed.
 */
export function commonPrefix(held: Held, prompt: Held, imageContextId: number, tokensPerTile: number): number {
  const most = Math.min(held.ids.length, prompt.ids.length - 1);
  let visual = 0;
  for (let i = 0; i < most; i++) {
    if (held.ids[i] !== prompt.ids[i]) return i;
    if (prompt.ids[i] === imageContextId) {
      const tile = Math.floor(visual++ / tokensPerTile);
      if (held.tiles[tile] !== prompt.tiles[tile]) return i;
    }
  }
  return Math.max(0, most);
}

/** How many of the first ids stand for image content. */
export function visualTokens(ids: readonly number[], imageContextId: number, end = ids.length): number {
  let count = 0;
  for (let i = 0; i < end; i++) if (ids[i] === imageContextId) count++;
  return count;
}
