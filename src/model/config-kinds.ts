import type { EngineError } from "../errors.ts";
import { described } from "../options.ts";
import { bad } from "./config-fields.ts";

type Json = Record<string, unknown>;

/** The InternVL folders that load, for whoever came with another kind. */
const ORIGINAL = "take the model's original folder, whose config.json has llm_config (OpenGVLab's without -hf or -HF in its name)";

/** How the hint calls the way from one's LoRA to a checkpoint. */
export const MERGE_LORA =
  "merge it into the base model with peft (merge_and_unload), set use_llm_lora and use_backbone_lora to 0, and save";

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
  if (Object.hasOwn(json, "peft_type")) return bad("it is a LoRA adapter's configuration, not a model's", MERGE_LORA);
  const ranks = ["use_llm_lora", "use_backbone_lora"].filter((key) => json[key] !== undefined && json[key] !== null && json[key] !== 0);
  if (ranks.length > 0) {
    return bad(`${ranks[0]} is ${described(json[ranks[0]!])}, needs 0: the weights hold a LoRA that is not merged`, MERGE_LORA);
  }
  return undefined;
}
