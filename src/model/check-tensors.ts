import { badWeights, type EngineError } from "../errors.ts";
import { quote } from "../safetensors/index.ts";
import { GROUP } from "../tensor/tensor.ts";
import { CODES, PLAIN, SCALES_SUFFIX } from "../weights/formats.ts";
import type { ModelConfig } from "./config.ts";
import type { Layout } from "./families.ts";
import { isHeld, type Stored } from "./fits.ts";
import { checkpointTensors, usedLayers } from "./tensors.ts";

/** Names by which other libraries' files are recognised: they give a cause that counting tensors would not. */
const FOREIGN: readonly { is: RegExp; what: string; hint: string }[] = [
  {
    is: /\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer)(\.|$)/,
    what: "of a LoRA that config.json says nothing of",
    hint: "upstream's unmerged checkpoints have its rank in use_llm_lora or use_backbone_lora; give an adapter of peft's by itself (adapters, --lora)",
  },
  {
    is: /\.(qweight|qzeros|g_idx|weight_scale(_inv)?|weight_packed|weight_shape|input_scale|absmax|quant_map|nested_absmax|quant_state\..*|SCB)$/,
    what: "of weights that another library has packed, of which config.json (quantization_config) says nothing",
    hint: 'AWQ loads with its own config.json; of GPTQ, bitsandbytes, fp8 take the original checkpoint with weights: "q4" or "q8"',
  },
  { is: /^mlp2\./, what: "of InternVL3_5-…-Flash, which does not load", hint: "take the model without -Flash in its name" },
];

/** How the other layout's tensors are called: config.json and tensors are then of two checkpoints. */
const OTHER_LAYOUT: Readonly<Record<Layout, { is: RegExp; what: string }>> = {
  original: {
    is: /^(model\.)?(vision_tower|multi_modal_projector)\.|^model\.language_model\./,
    what: "of Hugging Face's own layout, and config.json is of the original one",
  },
  huggingface: { is: /^(vision_model|mlp1)\./, what: "of the original layout, and config.json is of Hugging Face's own" },
};

/** What belongs to the model. Names elsewhere (an optimiser's state, other heads) are none of its business. */
const OURS: Readonly<Record<Layout, RegExp>> = {
  original: /^(language_model|vision_model|mlp1)\./,
  huggingface: /^(model|language_model|vision_tower|multi_modal_projector|lm_head)\./,
};

/** A layer of the vision tower, in either layout. */
const VISION_LAYER = /^(?:model\.)?vision_(?:model|tower)\.encoder\.layers?\.(\d+)\./;

/** Tables that older versions of transformers stored and every version computes anew. */
const BUFFERS = /\.(rotary_emb\.inv_freq|embeddings\.position_ids)$/;

const OTHER_CHECKPOINT = "config.json and the safetensors files must be of one checkpoint";

const others = (count: number, what: string): string => (count === 0 ? "" : `; and ${count} more ${what}`);

function foreign(stored: Stored, layout: Layout): EngineError | undefined {
  for (const { is, what, hint } of [...FOREIGN, { ...OTHER_LAYOUT[layout], hint: OTHER_CHECKPOINT }]) {
    const names = [...stored.keys()].filter((name) => is.test(name));
    if (names.length === 0) continue;
    return badWeights(`tensor ${quote(names[0]!)} is ${what}${others(names.length - 1, "like it")}`, hint);
  }
  return undefined;
}

/** What is wrong with a tensor that the configuration asks for; `undefined`: nothing. */
function problemOf(name: string, shape: readonly number[], stored: Stored): string | undefined {
  const has = stored.get(name);
  if (!has) return `tensor "${name}" is missing; config.json asks for it with shape [${shape}]`;
  const scales = stored.get(name + SCALES_SUFFIX);
  if (isHeld(shape, has, scales)) return undefined;
  const format = scales && shape.length === 2 ? CODES[has.dtype] : undefined;
  if (scales && !format)
    return `tensor "${name}" has scales, but is ${has.dtype} [${has.shape.slice(0, 8)}] instead of a matrix in I8 or U8`;
  if (!format && !PLAIN[has.dtype]) return `tensor "${name}" has dtype ${has.dtype}, supported: ${Object.keys(PLAIN).join(", ")}`;
  const needs = format === "q4" ? [shape[0]!, shape[1]! / 2] : shape;
  if (String(has.shape) !== String(needs)) return `tensor "${name}" has shape [${has.shape.slice(0, 8)}], needs [${needs}]`;
  return `tensor "${name}${SCALES_SUFFIX}" is ${scales!.dtype} [${scales!.shape.slice(0, 8)}], needs F16 [${[shape[0]!, shape[1]! / GROUP]}]`;
}

/**
 * Checks the tensors that files declare against what a configuration asks for, before any of their bytes is read: that all are there in
 * their shapes, and that below the names that are the model's own nothing lies that the model would not take. A head that is
 * stored is used, without one the embedding is, whatever `tie_word_embeddings` says.
 *
 * @param all whether tensors elsewhere are refused too (`inspect --verify`)
 * @throws EngineError bad-weights naming the first tensor, and how many are like it
 */
export function checkTensors(config: ModelConfig, stored: Stored, { all = false }: { all?: boolean } = {}): void {
  const otherwise = foreign(stored, config.layout);
  if (otherwise) throw otherwise;
  const known = new Set<string>();
  const problems: string[] = [];
  for (const { name, shape } of checkpointTensors(config, (name) => stored.has(name))) {
    known.add(name).add(name + SCALES_SUFFIX);
    const layer = VISION_LAYER.exec(name);
    if (layer && Number(layer[1]) >= usedLayers(config) && !stored.has(name)) continue;
    const problem = problemOf(name, shape, stored);
    if (problem) problems.push(problem);
  }
  if (problems.length > 0) throw badWeights(problems[0]! + others(problems.length - 1, "tensors do not fit"), OTHER_CHECKPOINT);
  const strange = [...stored.keys()].filter((name) => !known.has(name) && (all || OURS[config.layout].test(name)) && !BUFFERS.test(name));
  if (strange.length > 0) {
    const what = `tensor ${quote(strange[0]!)} is not one that config.json asks for`;
    const hint = `${OTHER_CHECKPOINT}: a model that leaves weights out answers wrongly`;
    throw badWeights(what + others(strange.length - 1, "are not either"), hint);
  }
}
