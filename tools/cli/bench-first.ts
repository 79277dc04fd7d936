import { performance } from "node:perf_hooks";
import type { Scheduler } from "../../src/generate/scheduler.ts";
import type { Model } from "../../src/model/internvl.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import { synthesize } from "../synthetic/tensors.ts";

/** Pictures: one that is a single tile, and one of the most tiles with the thumbnail. */
const PICTURES = [1, 13] as const;
/** Tokens of the first question, and of the second with what stands before it. */
const QUESTION = 100;
const SECOND = 32;
const PATIENCE_MS = 60_000; // what would take longer is left out
const ROUNDS = 3;
const LONG_MS = 5_000; // once is enough

/** Milliseconds, or seconds where those are more than one. */
export const time = (ms: number): string => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1e3).toFixed(2)} s`);

/** Tiles that ran through the vision tower, and tokens whose keys and values were computed. */
interface Computed {
  tiles: number;
  tokens: number;
}

interface Asked {
  ms: number;
  computed: Computed;
}

/** How long a question waits for its answer to begin. */
export interface FirstToken {
  tiles: number;
  /** Of the prompt, visual ones included. */
  tokens: number;
  /** From the question to the first token, with the picture's tiles encoded: the fastest of up to three. */
  ms?: number;
  /** What was computed for it. */
  computed?: Computed;
  /** The same of a second question on the same picture, whose conversation is in the cache. */
  secondMs?: number;
  secondComputed?: Computed;
  /** Why nothing was timed. */
  leftOut?: string;
}

const faster = (a: Asked, b: Asked): Asked => (b.ms < a.ms ? b : a);

/**
 * Times first tokens with a picture. A slow adapter is not asked for what would take it minutes.
 *
 * @param rate what a tile and a prompt's token took before
 */
export async function timeFirstTokens(
  model: Model,
  scheduler: Scheduler,
  rate: { tileMs: number; tokenMs: number },
  status: (text: string) => void,
  signal: AbortSignal,
): Promise<FirstToken[]> {
  const { tileSize: size, tokensPerTile, language } = model.config;
  const pixels = widenBf16(synthesize("input.pixel_values.tile0", [3, size, size], 0, 0, 3 * size * size));
  const imageContextId = language.vocabSize - 1;
  const text = (count: number) => Array.from({ length: count }, (_, i) => (i * 7919) % imageContextId);
  let picture = 0;

  const both = async (count: number): Promise<{ first: Asked; second: Asked }> => {
    picture++; // another one than before: nothing of it is in a cache
    const keys = Array.from({ length: count }, (_, i) => `picture ${picture} tile ${i}`);
    const images = { count, size, keys, pixels: () => pixels };
    const ask = async (inputIds: readonly number[]): Promise<Asked & { id: number }> => {
      const before = model.gpu.counters.tiles;
      const began = performance.now();
      let [ms, id] = [0, 0];
      const accept = (first: number) => {
        [ms, id] = [performance.now() - began, first];
        return true;
      };
      const { prefilledTokens } = await scheduler.admit({ inputIds, images, imageContextId, maxTokens: 1 }, accept, signal);
      return { ms, id, computed: { tiles: model.gpu.counters.tiles - before, tokens: prefilledTokens } };
    };
    const prompt = [...Array.from({ length: count * tokensPerTile }, () => imageContextId), ...text(QUESTION)];
    const first = await ask(prompt);
    const answer = Math.min(first.id, imageContextId - 1);
    return { first, second: await ask([...prompt, answer, ...text(SECOND - 1)]) };
  };

  const results: FirstToken[] = [];
  for (const tiles of PICTURES) {
    const tokens = tiles * tokensPerTile + QUESTION;
    const needs = tokens + SECOND + 1;
    const expected = tiles * rate.tileMs + tokens * rate.tokenMs;
    if (needs > model.decoder.context) {
      results.push({ tiles, tokens, leftOut: `needs ${needs} positions, there are ${model.decoder.context}` });
      continue;
    }
    if (expected > PATIENCE_MS) {
      results.push({ tiles, tokens, leftOut: `would take about ${Math.round(expected / 1000)} s here` });
      continue;
    }
    status(`first token with ${tiles} ${tiles === 1 ? "tile" : "tiles"}`);
    let { first, second } = await both(tiles);
    for (let round = 1; round < (expected > LONG_MS ? 1 : ROUNDS); round++) {
      const again = await both(tiles);
      first = faster(first, again.first);
      second = faster(second, again.second);
    }
    results.push({ tiles, tokens, ms: first.ms, computed: first.computed, secondMs: second.ms, secondComputed: second.computed });
  }
  return results;
}

export function describeFirst({ tiles, tokens, ms, secondMs, secondComputed, leftOut }: FirstToken): string {
  const what = `first    ${tiles} ${tiles === 1 ? "tile" : "tiles"}, ${tokens} tokens:`;
  if (leftOut !== undefined) return `${what} left out, ${leftOut}`;
  return `${what} ${time(ms!)} to the first token; ${time(secondMs!)} of a second question on the picture (${secondComputed!.tiles} tiles, ${secondComputed!.tokens} tokens)`;
}
