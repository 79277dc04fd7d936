import { RecordingWeights, type TensorShape } from "../weights/recording-weights.ts";
import type { Weights } from "../weights/weights.ts";
import type { ModelConfig } from "./config.ts";
import { type DecoderNames, type DecoderWeights, declareDecoder } from "./decoder.ts";
import type { Architecture } from "./families.ts";
import { internLm2 } from "./internlm2.ts";
import { llama } from "./llama.ts";
import { declareProjector, type ProjectorWeights } from "./projector.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { declareVision, type VisionWeights } from "./vision.ts";
import { VISION_NAMES } from "./vision-names.ts";

export type { TensorShape } from "../weights/recording-weights.ts";

/** The weights of a model. */
export interface ModelWeights {
  vision: VisionWeights;
  projector: ProjectorWeights;
  language: DecoderWeights;
}

/** The layers of the vision tower that are used: the others may be stored or not. */
export const usedLayers = ({ vision, selectLayer }: ModelConfig): number =>
  selectLayer < 0 ? vision.layers + 1 + selectLayer : selectLayer;

const DECODER_NAMES: Readonly<Record<Architecture, DecoderNames>> = {
  Qwen2ForCausalLM: qwen2,
  Qwen3ForCausalLM: qwen3,
  InternLM2ForCausalLM: internLm2,
  LlamaForCausalLM: llama,
};

/** Where the parts of a model lie, and the head beside the decoder. */
interface Places {
  vision: Weights;
  projector: Weights;
  decoder: Weights;
  head: Weights;
}

/**
 * transformers has two spellings of its layout: the one that save_pretrained writes by default (`language_model.model.…`), and its class's
 * own (`model.language_model.…`). One of its tensors tells which a part has.
 */
function placesOf(w: Weights, { layout, language }: ModelConfig): Places {
  if (layout === "original") {
    const decoder = w.at("language_model");
    return { vision: w.at("vision_model"), projector: w.at("mlp1"), decoder: decoder.at("model"), head: decoder };
  }
  const { embed, head } = DECODER_NAMES[language.architecture];
  const part = (own: string, old: string, tensor: string) => w.at(w.has(`${own}.${tensor}`) ? own : old);
  return {
    vision: part("model.vision_tower", "vision_tower", `${VISION_NAMES.huggingface.classEmbedding}`),
    projector: part("model.multi_modal_projector", "multi_modal_projector", "layer_norm.weight"),
    decoder: part("model.language_model", "language_model.model", embed),
    head: w.has(head) ? w : w.at("language_model"),
  };
}

/** Declares everything that the model takes from a checkpoint; `visionLayers` of the vision tower, and the decoder's layers each of what `layer` says. */
export function declareModel(
  w: Weights,
  config: ModelConfig,
  visionLayers = usedLayers(config),
  layer: (i: number) => Weights = () => w,
): ModelWeights {
  const { vision, language, layout } = config;
  const places = placesOf(w, config);
  const decoderOf = (i: number) => placesOf(layer(i), config).decoder;
  return {
    vision: declareVision(places.vision, vision, visionLayers, VISION_NAMES[layout]),
    projector: declareProjector(places.projector, vision.hiddenSize, language.hiddenSize, layout),
    language: declareDecoder(places.decoder, places.head, language, DECODER_NAMES[language.architecture], decoderOf),
  };
}

/** The decoder's layer that a tensor belongs to, in whichever layout. */
export function layerOf(name: string): number | undefined {
  const layer = /(?:^|\.)language_model\.(?:model\.)?layers\.(\d+)\./.exec(name)?.[1];
  return layer === undefined ? undefined : Number(layer);
}

/** Whether a name is that of a head, in whichever layout. */
export const isHead = (name: string): boolean => /^(language_model\.)?(lm_head|output)\.weight$/.test(name);

type Has = (name: string) => boolean;

/** What the loaders ask for of a checkpoint of this configuration, the vision tower's unused layers too. */
export function recorded(config: ModelConfig, has: Has): RecordingWeights {
  const recording = new RecordingWeights(has);
  declareModel(recording, config, config.vision.layers);
  return recording;
}

/**
 * Every tensor that a checkpoint of this configuration holds.
 *
 * @param has whether it holds a tensor that it may lack; by default what the configuration says of the head
 */
export const checkpointTensors = (config: ModelConfig, has: Has = (name) => isHead(name) && !config.language.tied): TensorShape[] =>
  recorded(config, has).seen;

/** The names of the tensors of each matrix: those of one are held alike. */
export const matrixTensors = (config: ModelConfig, has: Has): string[][] =>
  recorded(config, has).declared.flatMap(({ matrix, tensors }) => (matrix ? [tensors.map(({ name }) => name)] : []));

/** The embedding's name, and that of the head, which is the embedding where it is not stored. */
export function tiedTensors(config: ModelConfig, has: Has): { embed: string; head: string } {
  const names = recorded(config, (name) => isHead(name) || has(name)).seen.map(({ name }) => name);
  return { embed: names.find((name) => /\.(embed_tokens|tok_embeddings)\.weight$/.test(name))!, head: names.find(isHead)! };
}
