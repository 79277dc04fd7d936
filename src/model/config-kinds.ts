import type { EngineError } from "../errors.ts";
import { bad } from "./config-fields.ts";

type Json = Record<string, unknown>;

/** Whether a config.json is of transformers' own class. */
export const isHuggingFace = ({ architectures, model_type: type }: Json): boolean =>
  type === "internvl" || (Array.isArray(architectures) && architectures[0] === "InternVLForConditionalGeneration");

/** How a LoRA comes into its model. */
const GIVE_LORA = "load its base model, and give this folder as an adapter: load(BASE, { adapters: [FOLDER] }), --model BASE --lora FOLDER";

/**
 * What a config.json is, where it is of a kind that is known and does not load: said before its keys are read one by one, which would only
 * name the first that is missing.
 */
export function foreignKind(json: Json): EngineError | undefined {
  if (Object.hasOwn(json, "peft_type")) return bad("it is a LoRA adapter's configuration, not a model's", GIVE_LORA);
  return undefined;
}
