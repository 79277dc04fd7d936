import { commonPrefix, type Held, NOTHING, visualTokens } from "./prefix.ts";
import type { GenerateRequest } from "./request.ts";

/** A sequence's place: row `index` of every layer's KV cache. */
export interface Slot<Job> {
  readonly index: number;
  /** What its cache holds. */
  held: Held;
  /** Who is in it. */
  job: Job | undefined;
  /** When it was last given to somebody: larger is later. */
  used: number;
}

/** A slot that nobody has had yet. */
export const newSlot = <Job>(index: number): Slot<Job> => ({ index, held: NOTHING, job: undefined, used: 0 });

/** What a prompt would leave in a cache, and how many visual tokens each of its tiles has. */
export function contentOf({ inputIds, images, imageContextId }: GenerateRequest): { prompt: Held; perTile: number } {
  const perTile = images ? visualTokens(inputIds, imageContextId) / images.count : 1;
  return { prompt: { ids: inputIds, tiles: images?.keys ?? [] }, perTile };
}

/** The slot, of some that are free, whose cache shares the longest prefix with a prompt, else the least recently used; and that prefix. */
export function bestSlot<Job>(free: readonly Slot<Job>[], request: GenerateRequest): { slot: Slot<Job>; shared: number } {
  const { prompt, perTile } = contentOf(request);
  const shared = new Map(free.map((slot) => [slot, commonPrefix(slot.held, prompt, request.imageContextId, perTile)]));
  const [slot] = [...free].sort((a, b) => shared.get(b)! - shared.get(a)! || a.used - b.used);
  return { slot: slot!, shared: shared.get(slot!)! };
}
