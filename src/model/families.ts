/** A kind of decoder that loads. */
export interface DecoderKind {
  /** As transformers calls its configuration. */
  modelType: string;
  /** max_position_embeddings where the configuration does not say it. */
  positions: number;
  /** head_dim where the configuration does not say it: hidden_size / num_attention_heads, which some kinds hold to, or a number of its own. */
  headDim: "divided" | "divided unless said" | number;
  /** Whether the configuration has keys for sliding windows. */
  windows?: boolean;
  /** Whether q, k and v have biases. */
  qkvBias?: boolean;
  /** Whether each head of q and k is normed before rope. */
  headNorm?: boolean;
}

/** The decoders that load, by the first of their configuration's `architectures`. */
export const DECODERS = {
  Qwen2ForCausalLM: { modelType: "qwen2", positions: 32768, headDim: "divided", windows: true, qkvBias: true },
  Qwen3ForCausalLM: { modelType: "qwen3", positions: 32768, headDim: 128, windows: true, headNorm: true },
  InternLM2ForCausalLM: { modelType: "internlm2", positions: 2048, headDim: "divided" },
  LlamaForCausalLM: { modelType: "llama", positions: 2048, headDim: "divided unless said" },
} as const satisfies Record<string, DecoderKind>;

/** A decoder that loads, as its configuration calls it. */
export type Architecture = keyof typeof DECODERS;
/** The decoders that load. */
export const ARCHITECTURES = Object.keys(DECODERS) as Architecture[];

/**
 * How a checkpoint is laid out: as OpenGVLab publishes it (InternVLChatModel: llm_config, vision_model.…), or as transformers saves its own
 * class (InternVLForConditionalGeneration: text_config, vision_tower.…).
 */
export type Layout = "original" | "huggingface";

/** Decoders of the family that do not load, by how their architecture or model_type begins: what they are, and which models have them. */
const REFUSED: readonly { is: RegExp; what: string; instead: string }[] = [
  {
    is: /moe|mixtral|^gpt_?oss/i,
    what: "a mixture of experts (InternVL3_5-30B-A3B, -241B-A28B, -GPT-OSS-20B-A4B-Preview)",
    instead: "take a dense one: InternVL3_5-38B, -14B, -8B, -4B, -2B or -1B",
  },
  { is: /^InternLM3/i, what: "the decoder of InternVL3-9B", instead: "take InternVL3-8B or InternVL3_5-8B" },
  { is: /^Phi3/i, what: "the decoder of InternVL2-4B and Mini-InternVL-Chat-4B-V1-5", instead: "take InternVL2_5-4B or InternVL3_5-4B" },
];

/** What is known of a decoder that does not load, by its architecture or model_type. */
export const refusedDecoder = (name: unknown) => (typeof name === "string" ? REFUSED.find(({ is }) => is.test(name)) : undefined);
