import type { EngineError } from "../errors.ts";
import { described } from "../options.ts";
import { bad } from "./config-fields.ts";

type Json = Record<string, unknown>;

const objectAt = (json: Json, key: string): Json | undefined => {
  const value = Object.hasOwn(json, key) ? json[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
};

/** Whether a config.json is of transformers' own class. */
export const isHuggingFace = ({ architectures, model_type: type }: Json): boolean =>
  type === "internvl" || (Array.isArray(architectures) && architectures[0] === "InternVLForConditionalGeneration");

/** How the hint calls the way from one's LoRA to a checkpoint. */
export const MERGE_LORA =
  "merge it into the base model with peft (merge_and_unload), set use_llm_lora and use_backbone_lora to 0, and save";

/** Where a configuration says that its weights are packed by another library, and by which. */
function quantization(json: Json): string | undefined {
  for (const path of ["", "llm_config", "text_config", "vision_config"]) {
    const owner = path === "" ? json : objectAt(json, path);
    for (const key of ["quantization_config", "compression_config"]) {
      const value = owner && Object.hasOwn(owner, key) ? owner[key] : null;
      if (value === null) continue;
      const { quant_method: method, load_in_4bit: four, load_in_8bit: eight } = (objectAt(owner!, key) ?? {}) as Json;
      const kind = method ?? (four || eight ? "bitsandbytes" : undefined);
      return `${path ? `${path}.` : ""}${key} names ${kind === undefined ? "no quant_method" : described(kind)}`;
    }
  }
  return undefined;
}

/**
 * What a config.json is, where it is of a kind that is known and does not load: said before its keys are read one by one, which would only
 * name the first that is missing.
 */
export function foreignKind(json: Json): EngineError | undefined {
  const packed = quantization(json);
  if (packed !== undefined) {
    return bad(
      `${packed}: weights that were packed by another library (AWQ, GPTQ, bitsandbytes, fp8, …) do not load`,
      'load the original checkpoint with weights: "q4" or "q8", or convert it with `internvl convert`',
    );
  }
  if (Object.hasOwn(json, "peft_type")) return bad("it is a LoRA adapter's configuration, not a model's", MERGE_LORA);
  const ranks = ["use_llm_lora", "use_backbone_lora"].filter((key) => json[key] !== undefined && json[key] !== null && json[key] !== 0);
  if (ranks.length > 0) {
    return bad(`${ranks[0]} is ${described(json[ranks[0]!])}, needs 0: the weights hold a LoRA that is not merged`, MERGE_LORA);
  }
  return undefined;
}
