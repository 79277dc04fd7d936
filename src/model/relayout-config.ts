import { DEFAULT_SYSTEM_MESSAGE } from "../text/template.ts";
import type { ModelConfig } from "./config.ts";
import { type Architecture, DECODERS, type DecoderKind, type Layout } from "./families.ts";

type Json = Record<string, unknown>;

/** A decoder's rope as transformers 4 writes it, which 5 reads as well; in 4 `rope_parameters` would be passed over. */
function ropeOf(raw: Json, architecture: Architecture): Json {
  const inner = (raw.rope_parameters ?? raw.rope_scaling ?? {}) as Json;
  const { rope_theta = raw.rope_theta, rope_type, type = rope_type, ...rest } = inner;
  if (type === undefined || type === "default") return { rope_theta, rope_scaling: null };
  // InternLM2's own class takes these two keys and no other.
  const rope_scaling = architecture === "InternLM2ForCausalLM" ? { type, factor: rest.factor } : { type, rope_type: type, ...rest };
  return { rope_theta, rope_scaling };
}

/** The decoder's configuration; both layouts have it in transformers' words. */
function decoderConfig(architecture: Architecture, { language: l }: ModelConfig, raw: Json, tied: boolean): Json {
  const { modelType, headDim, windows }: DecoderKind = DECODERS[architecture];
  return {
    architectures: [architecture],
    model_type: modelType,
    hidden_act: "silu",
    hidden_size: l.hiddenSize,
    intermediate_size: l.intermediateSize,
    max_position_embeddings: raw.max_position_embeddings ?? l.maxPositions,
    num_attention_heads: l.heads,
    num_hidden_layers: l.layers,
    num_key_value_heads: l.kvHeads,
    rms_norm_eps: l.eps,
    ...ropeOf(raw, architecture),
    tie_word_embeddings: tied,
    vocab_size: l.vocabSize,
    ...(headDim !== "divided" && { head_dim: l.headDim, attention_bias: false }),
    ...(windows && { use_sliding_window: false, sliding_window: null }),
    ...(architecture === "InternLM2ForCausalLM" && { bias: false }),
    ...Object.fromEntries(["bos_token_id", "eos_token_id", "pad_token_id"].flatMap((key) => (key in raw ? [[key, raw[key]]] : []))),
  };
}

/** What transformers has for InternLM2 is Llama, and back; what InternLM2 cannot say of its rope Llama says there too. */
function architectureIn(layout: Layout, { language }: ModelConfig, raw: Json): Architecture {
  const { architecture, rope, headDim, hiddenSize, heads, maxPositions } = language;
  if (layout === "huggingface") return architecture === "InternLM2ForCausalLM" ? "LlamaForCausalLM" : architecture;
  const positions = (raw.max_position_embeddings ?? maxPositions) === maxPositions; // dynamic scaling may say another length
  const fits = positions && (rope.kind === "plain" || rope.kind === "linear") && headDim * heads === hiddenSize;
  return architecture === "LlamaForCausalLM" && fits ? "InternLM2ForCausalLM" : architecture;
}

/**
 * config.json of another layout.
 *
 * @param raw the one that there is
 * @param tied whether the head is the embedding
 */
export function configIn(layout: Layout, config: ModelConfig, raw: Json, tied: boolean): Json {
  const { vision: v, tileSize, minTiles, maxTiles, selectLayer } = config;
  const rawDecoder = (raw.llm_config ?? raw.text_config) as Json;
  const decoder = decoderConfig(architectureIn(layout, config, rawDecoder), config, rawDecoder, tied);
  const vision = {
    hidden_act: "gelu",
    hidden_size: v.hiddenSize,
    intermediate_size: v.intermediateSize,
    layer_norm_eps: v.eps,
    norm_type: v.norm,
    num_attention_heads: v.heads,
    num_channels: 3,
    num_hidden_layers: v.layers,
  };
  if (layout === "huggingface") {
    return {
      architectures: ["InternVLForConditionalGeneration"],
      downsample_ratio: 0.5,
      image_seq_length: config.tokensPerTile,
      image_token_id: config.imageTokenId,
      model_type: "internvl",
      projector_hidden_act: "gelu",
      text_config: decoder,
      tie_word_embeddings: tied,
      vision_config: {
        ...vision,
        model_type: "internvl_vision",
        ...{ attention_bias: v.qkvBias, use_qk_norm: v.qkNorm },
        ...{ image_size: [v.imageSize, v.imageSize], patch_size: [v.patchSize, v.patchSize] },
        ...{ use_absolute_position_embeddings: true, use_mask_token: false, use_mean_pooling: true },
      },
      vision_feature_layer: selectLayer,
      vision_feature_select_strategy: "default",
    };
  }
  const code = { config: "configuration_internvl_chat.InternVLChatConfig", model: "modeling_internvl_chat.InternVLChatModel" };
  return {
    architectures: ["InternVLChatModel"],
    auto_map: { AutoConfig: code.config, AutoModel: code.model, AutoModelForCausalLM: code.model },
    downsample_ratio: 0.5,
    dynamic_image_size: true,
    force_image_size: tileSize,
    llm_config: decoder,
    ...{ max_dynamic_patch: maxTiles, min_dynamic_patch: minTiles },
    model_type: "internvl_chat",
    ...{ pad2square: false, ps_version: "v2", select_layer: selectLayer },
    system_message: config.systemMessage === DEFAULT_SYSTEM_MESSAGE ? null : (config.systemMessage ?? null),
    template: "internvl2_5",
    tie_word_embeddings: tied,
    ...{ use_backbone_lora: 0, use_llm_lora: 0, use_thumbnail: true },
    vision_config: {
      architectures: ["InternVisionModel"],
      ...vision,
      model_type: "intern_vit_6b",
      ...{ qkv_bias: v.qkvBias, qk_normalization: v.qkNorm, image_size: v.imageSize, patch_size: v.patchSize },
    },
  };
}
