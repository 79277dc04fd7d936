import type { Weights } from "../weights/weights.ts";
import type { LanguageConfig } from "./config.ts";
import { type DecoderWeights, declareDecoder, type Family } from "./decoder.ts";
import { internLm2 } from "./internlm2.ts";
import { qwen2 } from "./qwen2.ts";

/** The families of language models that load, by the first of config.json's `architectures`. */
const FAMILIES: Readonly<Record<LanguageConfig["architecture"], Family>> = {
  Qwen2ForCausalLM: qwen2,
  InternLM2ForCausalLM: internLm2,
};

export const declareLanguage = (w: Weights, config: LanguageConfig): DecoderWeights =>
  declareDecoder(w, config, FAMILIES[config.architecture]);

/** The embedding's name, and that of the head, which is the embedding where it is not stored. */
export function tiedTensors({ architecture }: LanguageConfig): { embed: string; head: string } {
  const { embed, head } = FAMILIES[architecture];
  return { embed: `language_model.model.${embed}`, head: `language_model.${head}` };
}
