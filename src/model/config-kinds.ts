import type { EngineError } from "../errors.ts";
import { bad } from "./config-fields.ts";

type Json = Record<string, unknown>;

/** The InternVL folders that load, for whoever came with another kind. */
const ORIGINAL = "take the model's original folder, whose config.json has llm_config (OpenGVLab's without -hf or -HF in its name)";

/** How a LoRA comes into its model. */
const GIVE_LORA = "load its base model, and give this folder as an adapter: load(BASE, { adapters: [FOLDER] }), --model BASE --lora FOLDER";

/**
 * What a config.json is, where it is of a kind that is known and does not load: said before its keys are read one by one, which would only
 * name the first that is missing.
 */
export function foreignKind(json: Json): EngineError | undefined {
  const { architectures, model_type: type } = json;
  if (
    Object.hasOwn(json, "text_config") ||
    type === "internvl" ||
    (Array.isArray(architectures) && architectures[0] === "InternVLForConditionalGeneration")
  ) {
    return bad(`it is of Hugging Face's own layout (text_config, model_type "internvl"), which does not load yet`, ORIGINAL);
  }
  if (Object.hasOwn(json, "peft_type")) return bad("it is a LoRA adapter's configuration, not a model's", GIVE_LORA);
  return undefined;
}
