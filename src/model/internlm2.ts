import type { RowBlock } from "../weights/rows.ts";
import type { LanguageConfig } from "./config.ts";
import type { Family } from "./decoder.ts";

/** wqkv lies as [kvHeads, group + 2, headDim]: per kv head its query heads, then k, then v. Here: all q, all k, all v. */
function unpackWqkv({ heads, kvHeads, headDim }: LanguageConfig): RowBlock[] {
  const group = heads / kvHeads;
  return Array.from({ length: kvHeads * (group + 2) }, (_, i) => {
    const kvHead = Math.floor(i / (group + 2));
    const place = i % (group + 2);
    const to = place < group ? kvHead * group + place : place === group ? heads + kvHead : heads + kvHeads + kvHead;
    return { from: i * headDim, to: to * headDim, rows: headDim };
  });
}

/** InternLM2 and InternLM2.5 (modeling_internlm2.py): q, k and v lie in one tensor, head by head, without biases. */
export const internLm2: Family = {
  embed: "tok_embeddings.weight",
  head: "output.weight",
  layer(w, config) {
    const { hiddenSize: h, intermediateSize: i, heads, kvHeads, headDim, eps } = config;
    const attention = w.at("attention");
    const mlp = w.at("feed_forward");
    return {
      qkv: attention.matrices([{ name: "wqkv.weight", rows: (heads + 2 * kvHeads) * headDim, blocks: unpackWqkv(config) }], h),
      qkvBias: undefined,
      output: attention.matrix("wo.weight", h, heads * headDim),
      gateUp: mlp.matrices(
        [
          { name: "w1.weight", rows: i },
          { name: "w3.weight", rows: i },
        ],
        h,
      ),
      down: mlp.matrix("w2.weight", h, i),
      attentionNorm: { weight: w.vector("attention_norm.weight", h), eps },
      mlpNorm: { weight: w.vector("ffn_norm.weight", h), eps },
    };
  },
};
