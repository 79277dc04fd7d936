import { type KvDtype, kvBytes } from "../ops/kv-cache.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { type StoredShapes, weightBytes } from "../weights/fit.ts";
import type { LanguageConfig, ModelConfig } from "./config.ts";

/** Activations, logits and what the driver keeps for itself. */
const WORKING_BYTES = 512 * 2 ** 20;

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

/** What a checkpoint needs on the GPU, with its matrices held in a format. */
export function memoryNeed(
  { language: l }: ModelConfig,
  tensors: StoredShapes,
  weights: MatrixDtype,
  context = usualContext(l),
  kv: KvDtype = "f16",
): MemoryNeed {
  const parts = {
    weights: weightBytes(tensors, weights),
    state: kvBytes(l, context, kv) + context * 4 * (l.headDim + l.hiddenSize),
    activations: WORKING_BYTES,
  };
  return { ...parts, total: parts.weights + parts.state + parts.activations };
}
