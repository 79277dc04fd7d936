import type { RowBlock } from "../weights/rows.ts";
import type { LanguageConfig } from "./config.ts";
import type { DecoderNames } from "./decoder.ts";

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
export const internLm2: DecoderNames = {
  embed: "tok_embeddings.weight",
  head: "output.weight",
  qkv: (config) => {
    const { heads, kvHeads, headDim } = config;
    return [{ name: "attention.wqkv.weight", rows: (heads + 2 * kvHeads) * headDim, blocks: unpackWqkv(config) }];
  },
  output: "attention.wo.weight",
  gate: "feed_forward.w1.weight",
  up: "feed_forward.w3.weight",
  down: "feed_forward.w2.weight",
  attentionNorm: "attention_norm.weight",
  mlpNorm: "ffn_norm.weight",
};
