import { platform } from "#platform";
import type { Gpu } from "../gpu/device.ts";
import { misfit } from "../weights/fit.ts";
import type { ModelConfig } from "./config.ts";

/** Tokens of a prompt in one step, the best first. A large GPU is full with 2048; a CPU adapter, and a phone, with the last. */
const CHUNKS = [2048, 1024, 512] as const;
/** Tokens of a step on a CPU adapter and a phone, and where a GPU has no room for more. */
export const SMALL_CHUNK = CHUNKS[2];

/** Tiles in one vision step: a phone's memory is small. */
export const TILES = 4;
/** Tiles in one vision step at most. */
export const mostTiles = ({ mobile }: { mobile: boolean }): number => (mobile ? 1 : TILES);

/** f32 values of a prompt's token that live at once beside its residual, at most: gate and up where they are products of their own, what comes of them, and the norm. */
const valuesPerToken = ({ language: l }: ModelConfig): number => 3 * l.intermediateSize + l.hiddenSize;

/** Bytes of the activations of a step of `tokens` tokens. */
export const chunkBytes = (config: ModelConfig, tokens: number): number =>
  4 * tokens * (valuesPerToken(config) + config.language.hiddenSize);

/**
 * Tokens in one prefill step: activations are sized for it, whatever the prompt's length. On a GPU as many as memory has room for, beside
 * `more` bytes that are still to come.
 */
export async function chunkFor(gpu: Gpu, config: ModelConfig, context: number, more: number): Promise<number> {
  if (!gpu.large) return SMALL_CHUNK;
  const widest = 4 * 2 * config.language.intermediateSize; // bytes of a row of gate | up: all rows lie in one binding
  for (const chunk of CHUNKS) {
    if (chunk === SMALL_CHUNK) break;
    if (chunk >= 2 * context || chunk * widest > gpu.memory.maxBinding) continue; // half of it would do
    if ((await misfit(gpu, chunkBytes(config, chunk) + more, platform.availableMemory())) === undefined) return chunk;
  }
  return SMALL_CHUNK;
}

/** How many of `count` things the next of even groups has, of at most `most` each: 13 by 4 go as 4, 3, 3, 3. */
export const evenly = (count: number, most: number): number => Math.ceil(count / Math.ceil(count / most));
