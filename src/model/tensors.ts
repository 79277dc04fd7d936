import { RecordingWeights, type TensorShape } from "../weights/recording-weights.ts";
import type { Weights } from "../weights/weights.ts";
import type { ModelConfig } from "./config.ts";
import type { DecoderWeights } from "./decoder.ts";
import { declareLanguage } from "./families.ts";
import { declareProjector, type ProjectorWeights } from "./projector.ts";
import { declareVision, type VisionWeights } from "./vision.ts";

export type { TensorShape } from "../weights/recording-weights.ts";

export interface ModelWeights {
  vision: VisionWeights;
  projector: ProjectorWeights;
  language: DecoderWeights;
}

/** The layers of the vision tower that are used: the others may be stored or not. */
export const usedLayers = ({ vision, selectLayer }: ModelConfig): number =>
  selectLayer < 0 ? vision.layers + 1 + selectLayer : selectLayer;

/** Declares everything that the model takes from a checkpoint; `visionLayers` of the vision tower. */
export function declareModel(w: Weights, config: ModelConfig, visionLayers = usedLayers(config)): ModelWeights {
  return {
    vision: declareVision(w.at("vision_model"), config.vision, visionLayers),
    projector: declareProjector(w.at("mlp1"), config.vision.hiddenSize, config.language.hiddenSize),
    language: declareLanguage(w.at("language_model"), config.language),
  };
}

type Has = (name: string) => boolean;

/** What the loaders ask for of a checkpoint of this configuration, the vision tower's unused layers too. */
function recorded(config: ModelConfig, has: Has): RecordingWeights {
  const recording = new RecordingWeights(has);
  declareModel(recording, config, config.vision.layers);
  return recording;
}

/**
 * Every tensor that a checkpoint of this configuration holds.
 *
 * @param has whether it holds a tensor that it may lack; by default what the configuration says of the head
 */
export const checkpointTensors = (config: ModelConfig, has: Has = () => !config.language.tied): TensorShape[] => recorded(config, has).seen;

/** The names of the tensors of each matrix: those of one are held alike. */
export const matrixTensors = (config: ModelConfig, has: Has): string[][] => recorded(config, has).matricesOf;
