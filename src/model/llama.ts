import type { DecoderNames } from "./decoder.ts";

/** Llama (modeling_llama.py), and InternLM2 converted to it: q, k and v lie apart, without biases. */
export const llama: DecoderNames = {
  embed: "embed_tokens.weight",
  head: "lm_head.weight",
  qkv: ({ heads, kvHeads, headDim }) => [
    { name: "self_attn.q_proj.weight", rows: heads * headDim },
    { name: "self_attn.k_proj.weight", rows: kvHeads * headDim },
    { name: "self_attn.v_proj.weight", rows: kvHeads * headDim },
  ],
  output: "self_attn.o_proj.weight",
  gate: "mlp.gate_proj.weight",
  up: "mlp.up_proj.weight",
  down: "mlp.down_proj.weight",
  attentionNorm: "input_layernorm.weight",
  mlpNorm: "post_attention_layernorm.weight",
};
