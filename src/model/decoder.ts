import type { Program, Tap } from "../gpu/program.ts";
import { ropeAttention } from "../ops/attention.ts";
import type { KvCache } from "../ops/kv-cache.ts";
import { gatedMatmul, matmul, type Product } from "../ops/matmul.ts";
import { type NormWeights, norm } from "../ops/norm.ts";
import type { HeadNorm } from "../ops/rope.ts";
import { embed } from "../ops/rowwise.ts";
import type { Activation, Bindable, Matrix, Vector } from "../tensor/tensor.ts";
import type { MatrixRows, Weights } from "../weights/weights.ts";
import type { LanguageConfig } from "./config.ts";
import type { Stage } from "./stages.ts";

/** The weights of a layer of the decoder. */
export interface DecoderLayer {
  attentionNorm: NormWeights; // [H]
  qkv: Matrix; // [(heads + 2 kvHeads) · headDim, H]: q heads | k heads | v heads
  qkvBias: Vector | undefined;
  headNorm: HeadNorm | undefined; // [headDim] each, Qwen3
  output: Matrix; // [H, heads · headDim]
  mlpNorm: NormWeights; // [H]
  gateUp: Matrix; // [2I, H]: gate | up
  down: Matrix; // [H, I]
}

/** The weights of the decoder. */
export interface DecoderWeights {
  embed: Matrix; // [vocab, H]
  layers: DecoderLayer[];
  norm: NormWeights; // [H]
  head: Matrix; // [vocab, H]
}

/** What one kind of decoder has of its own: how its tensors are called, a layer's below `layers.N.`. */
export interface DecoderNames {
  embed: string;
  /** Where it is not stored, the head is the embedding, whatever `tie_word_embeddings` says. */
  head: string;
  /** All q heads, all k heads, all v heads, one below the other. */
  qkv(config: LanguageConfig): readonly MatrixRows[];
  qkvBias?: readonly [q: string, k: string, v: string];
  headNorms?: readonly [q: string, k: string];
  output: string;
  gate: string;
  up: string;
  down: string;
  attentionNorm: string;
  mlpNorm: string;
}

/** The tensors of one layer, below `layers.N.`. */
export function declareDecoderLayer(w: Weights, c: LanguageConfig, names: DecoderNames): DecoderLayer {
  const { hiddenSize: h, intermediateSize: i, heads, kvHeads, headDim, eps } = c;
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  return {
    attentionNorm: { weight: w.vector(names.attentionNorm, h), eps },
    qkv: w.matrices(names.qkv(c), h),
    qkvBias: c.qkvBias && names.qkvBias ? w.vectors(names.qkvBias.map((name, part) => [name, [part === 0 ? q : kv]])) : undefined,
    headNorm: names.headNorms && { weight: w.vectors(names.headNorms.map((name) => [name, [headDim]])), eps },
    output: w.matrix(names.output, h, q),
    mlpNorm: { weight: w.vector(names.mlpNorm, h), eps },
    gateUp: w.matrices(
      [names.gate, names.up].map((name) => ({ name, rows: i })),
      h,
    ),
    down: w.matrix(names.down, h, i),
  };
}

/** The decoder's tensors: those of `model`, the head beside it, and each layer's where `modelOf` says. */
export function declareDecoder(
  model: Weights,
  beside: Weights,
  c: LanguageConfig,
  names: DecoderNames,
  modelOf: (layer: number) => Weights,
): DecoderWeights {
  const embedding = model.matrix(names.embed, c.vocabSize, c.hiddenSize);
  return {
    embed: embedding,
    layers: Array.from({ length: c.layers }, (_, i) => declareDecoderLayer(modelOf(i).at("layers").at(i), c, names)),
    norm: { weight: model.vector("norm.weight", c.hiddenSize), eps: c.eps },
    head: beside.has(names.head) ? beside.matrix(names.head, c.vocabSize, c.hiddenSize) : embedding,
  };
}

/** What the layers work with beside their weights. */
export interface DecoderState {
  visual: GPUBuffer; // f32 [maxContext, H]: visual tokens, in the place of ids that are flagged
  heads: number;
}

/**
 * X = embed(ids), then every layer in place: as much of it as a stage has, the embedding where there are ids. `separate`: an id of each
 * slot (decode), not consecutive ones of a prompt (prefill).
 */
export function recordDecoder(
  p: Program,
  w: DecoderWeights,
  { x, rope, start, end }: Pick<Stage, "x" | "rope" | "start" | "end">,
  ids: Bindable | undefined,
  caches: readonly KvCache[],
  { visual, heads }: DecoderState,
  { separate = false, tap }: { separate?: boolean; tap?: Tap | undefined } = {},
): void {
  if (ids) {
    embed(p, ids, w.embed, visual, x, { separate });
    tap?.("input_embeds", x, p);
  }
  for (let i = start; i < end; i++) {
    recordDecoderLayer(p, w.layers[i]!, x, caches[i]!, rope, heads);
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
    const attended = ropeAttention(p, qkv, rope, cache, heads, { headNorm: w.headNorm, apart: true }); // [tokens, heads · headDim]
    matmul(p, attended, w.output, { into: x, splits: attended.splits, bounded: true }); // means of values
  });
  p.arena.scope(() => {
    const gated = gatedMatmul(p, x, w.gateUp, { norm: w.mlpNorm }); // [tokens, I]
    matmul(p, gated, w.down, { into: x }); // outliers of some 10^4
  });
}

/** Logits = head(norm(x)), with their maxima for sampling: of every row of x, or of the last one alone. With a tap the norm's output is seen too. */
export function recordHead(
  p: Program,
  w: DecoderWeights,
  x: Activation,
  { last = false, out, tap }: { last?: boolean; out?: Activation; tap?: Tap } = {},
): Product {
  const fused = !last && !tap;
  const normed = fused ? x : norm(p, x, w.norm, { last }); // [rows, H]
  tap?.("llm.norm", normed, p);
  const logits = matmul(p, normed, w.head, { bounded: true, ...(fused && { norm: w.norm }), ...(out && { out }), maxima: !tap }); // [rows, vocab]
  tap?.("logits", logits, p);
  return logits;
}
