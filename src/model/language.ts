import type { Gpu } from "../gpu/device.ts";
import type { Program } from "../gpu/program.ts";
import { causalAttention } from "../ops/attention.ts";
import { type KvCache, type KvDtype, rowBytes } from "../ops/kv-cache.ts";
import { gatedMatmul, matmul } from "../ops/matmul.ts";
import type { NormWeights } from "../ops/norm.ts";
import { ropeAppend } from "../ops/rope.ts";
import type { Activation, Matrix, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/checkpoint.ts";
import type { RowBlock } from "../weights/rows.ts";
import type { LanguageConfig } from "./config.ts";

export interface LanguageLayer {
  attentionNorm: NormWeights; // [H]
  qkv: Matrix; // [(heads + 2 kvHeads) · headDim, H]: q heads | k heads | v heads
  qkvBias: Vector | undefined;
  output: Matrix; // [H, heads · headDim]
  mlpNorm: NormWeights; // [H]
  gateUp: Matrix; // [2I, H]: gate | up
  down: Matrix; // [H, I]
}

export interface LanguageWeights {
  embed: Matrix; // [vocab, H]
  layers: LanguageLayer[];
  norm: NormWeights; // [H]
  head: Matrix; // [vocab, H]
}

async function loadQwen2Layer(w: Weights, c: LanguageConfig): Promise<LanguageLayer> {
  const q = c.heads * c.headDim;
  const kv = c.kvHeads * c.headDim;
  const a = w.at("self_attn");
  return {
    attentionNorm: { weight: w.vector("input_layernorm.weight", c.hiddenSize), eps: c.eps },
    qkv: await a.matrices(
      [
        { name: "q_proj.weight", rows: q },
        { name: "k_proj.weight", rows: kv },
        { name: "v_proj.weight", rows: kv },
      ],
      c.hiddenSize,
    ),
    qkvBias: c.qkvBias
      ? a.vectors([
          ["q_proj.bias", [q]],
          ["k_proj.bias", [kv]],
          ["v_proj.bias", [kv]],
        ])
      : undefined,
    output: await a.matrix("o_proj.weight", c.hiddenSize, q),
    mlpNorm: { weight: w.vector("post_attention_layernorm.weight", c.hiddenSize), eps: c.eps },
    gateUp: await w.at("mlp").matrices(
      [
        { name: "gate_proj.weight", rows: c.intermediateSize },
        { name: "up_proj.weight", rows: c.intermediateSize },
      ],
      c.hiddenSize,
    ),
    down: await w.at("mlp").matrix("down_proj.weight", c.hiddenSize, c.intermediateSize),
  };
}

/** wqkv lies as [kvHeads, group + 2, headDim]: per kv head its query heads, then k, then v. Here: all q, all k, all v. */
function unpackWqkv({ heads, kvHeads, headDim }: LanguageConfig): RowBlock[] {
  const group = heads / kvHeads;
  return Array.from({ length: kvHeads * (group + 2) }, (_, i) => {
    const kvHead = Math.floor(i / (group + 2));
    const slot = i % (group + 2);
    const to = slot < group ? kvHead * group + slot : slot === group ? heads + kvHead : heads + kvHeads + kvHead;
    return { from: i * headDim, to: to * headDim, rows: headDim };
  });
}

async function loadInternLm2Layer(w: Weights, c: LanguageConfig): Promise<LanguageLayer> {
  return {
    attentionNorm: { weight: w.vector("attention_norm.weight", c.hiddenSize), eps: c.eps },
    qkv: await w.matrices(
      [{ name: "attention.wqkv.weight", rows: (c.heads + 2 * c.kvHeads) * c.headDim, blocks: unpackWqkv(c) }],
      c.hiddenSize,
    ),
    qkvBias: undefined,
    output: await w.matrix("attention.wo.weight", c.hiddenSize, c.heads * c.headDim),
    mlpNorm: { weight: w.vector("ffn_norm.weight", c.hiddenSize), eps: c.eps },
    gateUp: await w.at("feed_forward").matrices(
      [
        { name: "w1.weight", rows: c.intermediateSize },
        { name: "w3.weight", rows: c.intermediateSize },
      ],
      c.hiddenSize,
    ),
    down: await w.matrix("feed_forward.w2.weight", c.hiddenSize, c.intermediateSize),
  };
}

export function loadLanguageLayer(w: Weights, c: LanguageConfig): Promise<LanguageLayer> {
  switch (c.architecture) {
    case "Qwen2ForCausalLM":
      return loadQwen2Layer(w, c);
    case "InternLM2ForCausalLM":
      return loadInternLm2Layer(w, c);
    default:
      return c.architecture satisfies never;
  }
}

/** The decoder's tensors, below `language_model.` (modeling_qwen2.py, modeling_internlm2.py). */
export async function loadLanguage(w: Weights, c: LanguageConfig): Promise<LanguageWeights> {
  const internLm2 = c.architecture === "InternLM2ForCausalLM";
  const head = internLm2 ? "output.weight" : "lm_head.weight"; // where it is not stored it is the embedding, whatever the configuration says
  const model = w.at("model");
  const embed = await model.matrix(internLm2 ? "tok_embeddings.weight" : "embed_tokens.weight", c.vocabSize, c.hiddenSize);
  const layers: LanguageLayer[] = [];
  for (let i = 0; i < c.layers; i++) layers.push(await loadLanguageLayer(model.at("layers").at(i), c));
  return {
    embed,
    layers,
    norm: { weight: model.vector("norm.weight", c.hiddenSize), eps: c.eps },
    head: w.has(head) ? await w.matrix(head, c.vocabSize, c.hiddenSize) : embed,
  };
}

/** Bytes of keys and values of all layers for a sequence of up to `context` tokens. */
export const kvBytes = (c: LanguageConfig, context: number, dtype: KvDtype): number => 2 * c.layers * layerBytes(c, context, dtype);

/** Bytes of one layer's keys of one sequence, and of its values: what one binding holds for every row. */
export const layerBytes = ({ kvHeads, headDim }: LanguageConfig, context: number, dtype: KvDtype): number =>
  rowBytes({ kvHeads, headDim, context, dtype });

/** Keys and values of layer `i` for `rows` sequences of up to `context` tokens. */
export function createCache(gpu: Gpu, c: LanguageConfig, i: number, context: number, rows: number, dtype: KvDtype): KvCache {
  const { kvHeads, headDim } = c;
  const bytes = rows * layerBytes(c, context, dtype);
  return {
    keys: gpu.memory.create(`kv.${i}.keys`, bytes),
    values: gpu.memory.create(`kv.${i}.values`, bytes),
    ...{ dtype, rows, kvHeads, headDim, context },
  };
}

/** Keys and values of every layer. */
export const createCaches = (gpu: Gpu, c: LanguageConfig, context: number, rows: number, dtype: KvDtype): KvCache[] =>
  Array.from({ length: c.layers }, (_, i) => createCache(gpu, c, i, context, rows, dtype));

/**
 * X += O(Attn(norm(X)));  X += down(silu(gate(h)) · up(h)), h = norm(X), in place. The rows of x are tokens of the cache's `row`
 * (prefill), or one of each of its rows (decode).
 */
export function recordLanguageLayer(p: Program, w: LanguageLayer, x: Activation, cache: KvCache, rope: GPUBuffer, heads: number): void {
  p.arena.scope(() => {
    const qkv = matmul(p, x, w.qkv, { norm: w.attentionNorm, bias: w.qkvBias }); // [tokens, (heads + 2 kvHeads) · headDim]
    const q = ropeAppend(p, qkv, rope, cache, heads); // [tokens, heads · headDim]
    matmul(p, causalAttention(p, q, cache, heads), w.output, { into: x });
  });
  p.arena.scope(() => {
    const gated = gatedMatmul(p, x, w.gateUp, { norm: w.mlpNorm }); // [tokens, I]
    matmul(p, gated, w.down, { into: x });
  });
}
