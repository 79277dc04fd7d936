import type { ModelConfig } from "../../src/model/config.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype } from "../../src/tensor/tensor.ts";

/** Floating-point operations (a multiply-add is two) of the vision tower and the projector for one tile. */
export function visionFlops({ vision: v, language, tileSize, tokensPerTile }: ModelConfig): number {
  const c = v.hiddenSize;
  const tokens = 1 + (tileSize / v.patchSize) ** 2;
  const layer = 2 * tokens * c * (4 * c + 2 * v.intermediateSize) + 4 * tokens * tokens * c;
  const projector = 2 * tokensPerTile * (4 * c * language.hiddenSize + language.hiddenSize ** 2);
  return v.layers * layer + 2 * tokens * c * 3 * v.patchSize ** 2 + projector;
}

/** Elements of the matrices of one decoder layer. */
const layerElements = ({ language: l }: ModelConfig): number =>
  l.hiddenSize * ((2 * l.heads + 2 * l.kvHeads) * l.headDim + 3 * l.intermediateSize);

/** Floating-point operations of a prompt of `tokens` tokens through the decoder; the head is computed once. */
export function prefillFlops(config: ModelConfig, tokens: number): number {
  const { language: l } = config;
  const causal = 2 * tokens * tokens * l.heads * l.headDim; // q · k and p · v, half of the square each
  return l.layers * (2 * tokens * layerElements(config) + causal) + 2 * l.vocabSize * l.hiddenSize;
}

/** Elements of the matrices that a decode step reads: all decoder layers and the head. */
export const decodedElements = (config: ModelConfig): number =>
  config.language.layers * layerElements(config) + config.language.vocabSize * config.language.hiddenSize;

/** Bytes of the matrices that a decode step reads, held in a format. */
export function decodedBytes(config: ModelConfig, weights: MatrixDtype): number {
  const perElement = BYTES_PER_ELEMENT[weights] + (isQuantized(weights) ? 2 / GROUP : 0);
  return decodedElements(config) * perElement;
}
