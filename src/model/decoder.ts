import type { Program, Tap } from "../gpu/program.ts";
import { ropeAttention } from "../ops/attention.ts";
import type { KvCache } from "../ops/kv-cache.ts";
import { gatedMatmul, matmul } from "../ops/matmul.ts";
import { type NormWeights, norm } from "../ops/norm.ts";
import { embed } from "../ops/rowwise.ts";
import type { Activation, Bindable, Matrix, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/weights.ts";
import type { LanguageConfig } from "./config.ts";

export interface DecoderLayer {
  attentionNorm: NormWeights; // [H]
  qkv: Matrix; // [(heads + 2 kvHeads) · headDim, H]: q heads | k heads | v heads
  qkvBias: Vector | undefined;
  output: Matrix; // [H, heads · headDim]
  mlpNorm: NormWeights; // [H]
  gateUp: Matrix; // [2I, H]: gate | up
  down: Matrix; // [H, I]
}

export interface DecoderWeights {
  embed: Matrix; // [vocab, H]
  layers: DecoderLayer[];
  norm: NormWeights; // [H]
  head: Matrix; // [vocab, H]
}

/** What one family of language models has of its own: the names and shapes of its tensors. */
export interface Family {
  /** Below `model.`. */
  embed: string;
  /** Where it is not stored, the head is the embedding, whatever `tie_word_embeddings` says. */
  head: string;
  layer(w: Weights, config: LanguageConfig): DecoderLayer;
}

/** The decoder's tensors, below `language_model.`. */
export function declareDecoder(w: Weights, c: LanguageConfig, family: Family): DecoderWeights {
  const model = w.at("model");
  const embedding = model.matrix(family.embed, c.vocabSize, c.hiddenSize);
  return {
    embed: embedding,
    layers: Array.from({ length: c.layers }, (_, i) => family.layer(model.at("layers").at(i), c)),
    norm: { weight: model.vector("norm.weight", c.hiddenSize), eps: c.eps },
    head: w.has(family.head) ? w.matrix(family.head, c.vocabSize, c.hiddenSize) : embedding,
  };
}

/** What the layers work with beside their weights. */
export interface DecoderState {
  visual: GPUBuffer; // f32 [maxContext, H]: visual tokens, in the place of ids that are flagged
  rope: GPUBuffer; // (cos, sin) [maxContext, headDim / 2]
  heads: number;
}

/** X = embed(ids), then every layer in place. `separate`: an id of each slot (decode), not consecutive ones of a prompt (prefill). */
export function recordDecoder(
  p: Program,
  w: DecoderWeights,
  x: Activation,
  ids: Bindable,
  caches: readonly KvCache[],
  { visual, rope, heads }: DecoderState,
  { separate = false, tap }: { separate?: boolean; tap?: Tap | undefined } = {},
): void {
  embed(p, ids, w.embed, visual, x, { separate });
  tap?.("input_embeds", x, p);
  for (const [i, layer] of w.layers.entries()) {
    recordDecoderLayer(p, layer, x, caches[i]!, rope, heads);
    tap?.(`llm.layer.${i}`, x, p);
  }
}

/**
 * X += O(Attn(norm(X)));  X += down(silu(gate(h)) · up(h)), h = norm(X), in place. The rows of x are tokens of the cache's `row`
 * (prefill), or one of each of its rows (decode).
 */
export function recordDecoderLayer(p: Program, w: DecoderLayer, x: Activation, cache: KvCache, rope: GPUBuffer, heads: number): void {
  p.arena.scope(() => {
    const qkv = matmul(p, x, w.qkv, { norm: w.attentionNorm, bias: w.qkvBias }); // [tokens, (heads + 2 kvHeads) · headDim]
    const attended = ropeAttention(p, qkv, rope, cache, heads); // [tokens, heads · headDim]
    matmul(p, attended, w.output, { into: x });
  });
  p.arena.scope(() => {
    const gated = gatedMatmul(p, x, w.gateUp, { norm: w.mlpNorm }); // [tokens, I]
    matmul(p, gated, w.down, { into: x });
  });
}

/** Logits = head(norm(x)): of every row of x, or of the last one alone. With a tap the norm's output is seen too. */
export function recordHead(
  p: Program,
  w: DecoderWeights,
  x: Activation,
  { last = false, out, tap }: { last?: boolean; out?: Activation; tap?: Tap } = {},
): void {
  const fused = !last && !tap;
  const normed = fused ? x : norm(p, x, w.norm, { last }); // [rows, H]
  tap?.("llm.norm", normed, p);
  const logits = matmul(p, normed, w.head, { ...(fused && { norm: w.norm }), ...(out && { out }) }); // [rows, vocab]
  tap?.("logits", logits, p);
}
