import { type KvDtype, kvBytes } from "../ops/kv-cache.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { weightBytes } from "../weights/fit.ts";
import type { StoredShapes } from "../weights/tensor-source.ts";
import type { LanguageConfig, ModelConfig } from "./config.ts";
import { SMALL_CHUNK, TILES } from "./steps.ts";

/** Logits, pixels, the projector's activations, and what the driver keeps for itself. */
const BESIDE = 256 * 2 ** 20;

/** What a tile of a vision step takes in the arena. */
export const tileBytes = ({ vision: v, tileSize }: ModelConfig): number =>
  4 * (1 + (tileSize / v.patchSize) ** 2) * (2 * v.intermediateSize + 6 * v.hiddenSize);

/** The arena's buffers, by what was seen in it: of a vision step of `tiles` tiles, and of a small prefill chunk, which are not shared where sizes differ. */
export function activationBytes(config: ModelConfig, tiles = TILES): number {
  const { language: l } = config;
  const qkv = (l.heads + 2 * l.kvHeads) * l.headDim;
  return tiles * tileBytes(config) + 4 * SMALL_CHUNK * (2 * l.intermediateSize + 2 * qkv + 4 * l.hiddenSize) + BESIDE;
}

const DEFAULT_CONTEXT = 8192;

/** Tokens of prompt and answer where nobody says how many. */
export const usualContext = ({ maxPositions }: LanguageConfig): number => Math.min(DEFAULT_CONTEXT, maxPositions);

/** Bytes that a model takes on the GPU while it answers one question. */
export interface MemoryNeed {
  weights: number;
  /** Keys and values of `context` tokens, with the rope table and the visual tokens. */
  state: number;
  /** What the steps in between need, about. */
  activations: number;
  total: number;
}

/** Keys and values of some layers, the rope table and the visual tokens. */
export const stateBytes = (l: LanguageConfig, layers: number, context: number, kv: KvDtype): number =>
  kvBytes({ ...l, layers }, context, kv) + context * 4 * (l.headDim + l.hiddenSize);

/** What a checkpoint needs on the GPU, with its matrices held in a format, a usual context and `tiles` tiles in a vision step. */
export function memoryNeed(config: ModelConfig, tensors: StoredShapes, weights: MatrixDtype, tiles = TILES): MemoryNeed {
  const { language: l } = config;
  const parts = {
    weights: weightBytes(tensors, weights),
    state: stateBytes(l, l.layers, usualContext(l), "f16"),
    activations: activationBytes(config, tiles),
  };
  return { ...parts, total: parts.weights + parts.state + parts.activations };
}
