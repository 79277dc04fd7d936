import type { Program } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";
import { decodeAttention } from "./attention-decode.ts";
import { need, needActivation, needTokens, needVec4s } from "./check.ts";
import { type AttentionVariant, choose, type DecodeVariant } from "./choose.ts";
import { type KvCache, kvReader, needCache, slotElements } from "./kv-cache.ts";

const MAX_HEAD = 128; // 16 keys and values of this width fill the 16 KiB of workgroup memory that every adapter has

export interface AttentionOptions {
  /** A variant by its name, instead of the one chosen for the adapter: for tests and benchmarks. */
  variant?: AttentionVariant | undefined;
  /** The same for decoding, one token over the cache. */
  decode?: DecodeVariant | undefined;
}

function needHead(op: string, headDim: number): void {
  needVec4s(op, "head width", headDim);
  need(headDim <= MAX_HEAD, op, `head width ${headDim} is over ${MAX_HEAD}`);
}

/** Attention of every token to every token of its own tile: qkv [tiles · tokens, 3 · heads · headDim] → [tiles · tokens, heads · headDim]. */
export function visionAttention(
  program: Program,
  qkv: Activation,
  heads: number,
  tokens: number,
  options: AttentionOptions = {},
): Activation {
  const op = "vision attention";
  const width = qkv.width / 3;
  const headDim = width / heads;
  needHead(op, headDim);
  need(qkv.rows.unit === tokens && qkv.rows.base === 0, op, `${qkv.label} must have ${tokens} rows a tile`);
  needActivation(program, op, qkv);
  const out = program.activation("attention", qkv.rows, width);
  choose(program.gpu, "attention", op, { width: headDim }, options.variant).record(program, {
    causal: false,
    rows: tokens,
    keys: tokens,
    heads,
    group: 1,
    headDim,
    batches: program.maxUnits,
    q: qkv.buffer,
    qStride: 3 * width,
    k: qkv.buffer,
    v: qkv.buffer,
    reader: "lib/kv.f32",
    kOffset: width,
    vOffset: 2 * width,
    kvBatch: tokens * 3 * width,
    kvHead: headDim,
    kvStride: 3 * width,
    out: out.buffer,
  });
  return out;
}

/**
 * Causal attention over the cache: q [tokens, heads · headDim] → the same shape. The tokens are those of the cache's `slot`, or one of each
 * of its slots.
 */
export function causalAttention(
  program: Program,
  q: Activation,
  cache: KvCache,
  heads: number,
  options: AttentionOptions = {},
): Activation {
  const op = "causal attention";
  const { keys, values, slots, slot, kvHeads, headDim, context } = cache;
  needHead(op, headDim);
  needActivation(program, op, q, heads * headDim);
  needTokens(op, q);
  needCache(op, cache);
  need(heads % kvHeads === 0, op, `${heads} query heads do not divide over ${kvHeads} kv heads`);
  const out = program.activation("attention", q.rows, q.width);
  if (slot === undefined) {
    need(program.maxRows(q.rows) <= slots, op, `${q.label} has more rows than the cache has slots`);
    decodeAttention(program, op, q, cache, out, options.decode);
    return out;
  }
  const offset = slot * slotElements(cache);
  choose(program.gpu, "attention", op, { width: headDim }, options.variant).record(program, {
    causal: true,
    rows: program.maxRows(q.rows),
    keys: context,
    heads,
    group: heads / kvHeads,
    headDim,
    batches: 1,
    q: q.buffer,
    qStride: heads * headDim,
    k: keys,
    v: values,
    reader: kvReader(cache),
    kOffset: offset,
    vOffset: offset,
    kvBatch: 0,
    kvHead: context * headDim,
    kvStride: headDim,
    out: out.buffer,
  });
  return out;
}
