import type { Family } from "./decoder.ts";

/** Qwen2 and Qwen2.5 (modeling_qwen2.py): q, k and v lie apart, and have biases. */
export const qwen2: Family = {
  embed: "embed_tokens.weight",
  head: "lm_head.weight",
  layer(w, { hiddenSize: h, intermediateSize: i, heads, kvHeads, headDim, eps, qkvBias }) {
    const [q, kv] = [heads * headDim, kvHeads * headDim];
    const attention = w.at("self_attn");
    const mlp = w.at("mlp");
    return {
      qkv: attention.matrices(
        [
          { name: "q_proj.weight", rows: q },
          { name: "k_proj.weight", rows: kv },
          { name: "v_proj.weight", rows: kv },
        ],
        h,
      ),
      qkvBias: qkvBias
        ? attention.vectors([
            ["q_proj.bias", [q]],
            ["k_proj.bias", [kv]],
            ["v_proj.bias", [kv]],
          ])
        : undefined,
      output: attention.matrix("o_proj.weight", h, q),
      gateUp: mlp.matrices(
        [
          { name: "gate_proj.weight", rows: i },
          { name: "up_proj.weight", rows: i },
        ],
        h,
      ),
      down: mlp.matrix("down_proj.weight", h, i),
      attentionNorm: { weight: w.vector("input_layernorm.weight", h), eps },
      mlpNorm: { weight: w.vector("post_attention_layernorm.weight", h), eps },
    };
  },
};
