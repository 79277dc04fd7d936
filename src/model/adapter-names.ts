/** Where an adapter's module lies among the model's tensors. */
export interface Place {
  /** The module's name in OpenGVLab's layout. */
  module: string;
  /** Which third of it: transformers has q, k and v of the vision tower apart. */
  third?: 0 | 1 | 2;
}

const VISION: readonly (readonly [RegExp, string])[] = [
  [/^embeddings\.patch_embeddings\.projection$/, "embeddings.patch_embedding"],
  [/^encoder\.layer\.(\d+)\.layernorm_before$/, "encoder.layers.$1.norm1"],
  [/^encoder\.layer\.(\d+)\.layernorm_after$/, "encoder.layers.$1.norm2"],
  [/^encoder\.layer\.(\d+)\.attention\.([qk])_norm$/, "encoder.layers.$1.attn.$2_norm"],
  [/^encoder\.layer\.(\d+)\.attention\.projection_layer$/, "encoder.layers.$1.attn.proj"],
  [/^encoder\.layer\.(\d+)\.mlp\.(fc[12])$/, "encoder.layers.$1.mlp.$2"],
];
const PROJECTOR: Readonly<Record<string, string>> = { layer_norm: "mlp1.0", linear_1: "mlp1.1", linear_2: "mlp1.3" };

/**
 * Where a module can lie by the name that peft gives it, in OpenGVLab's class or in either spelling of transformers'
 * InternVLForConditionalGeneration: under that name, in the other spelling, in OpenGVLab's layout.
 */
export function placesOf(name: string): Place[] {
  const bare = name.replace(/^model\./, "");
  const [, tower] = /^(?:model\.)?language_model\.(?:model\.)?(layers\..+|norm|embed_tokens)$/.exec(name) ?? [];
  const spellings = tower
    ? [`language_model.model.${tower}`, `model.language_model.${tower}`]
    : /^(vision_tower|multi_modal_projector)\./.test(bare)
      ? [bare, `model.${bare}`]
      : /^(language_model\.)?lm_head$/.test(name)
        ? ["lm_head", "language_model.lm_head"]
        : [];
  return [{ module: name }, ...spellings.map((module) => ({ module })), originalPlace(name)];
}

function originalPlace(name: string): Place {
  const [, tower, rest = ""] = /^(?:model\.)?(vision_tower|multi_modal_projector)\.(.+)$/.exec(name) ?? [];
  if (tower === "multi_modal_projector") return { module: PROJECTOR[rest] ?? name };
  if (tower === "vision_tower") {
    const [, layer, which] = /^encoder\.layer\.(\d+)\.attention\.([qkv])_proj$/.exec(rest) ?? [];
    if (which) return { module: `vision_model.encoder.layers.${layer}.attn.qkv`, third: "qkv".indexOf(which) as 0 | 1 | 2 };
    const [pattern, ours] = VISION.find(([pattern]) => pattern.test(rest)) ?? [];
    return { module: pattern ? `vision_model.${rest.replace(pattern, ours!)}` : name };
  }
  if (name === "lm_head") return { module: "language_model.lm_head" };
  return { module: name.replace(/^model\.language_model\./, "language_model.model.") };
}
