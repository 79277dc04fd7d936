import type { Precision, Program } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import { decodeAttention, decodeKernel, putSplitsTogether } from "./attention-decode.ts";
import type { Splits } from "./attention-kernels.ts";
import { need, needActivation, needTokens, needVec4s, needVector } from "./check.ts";
import { type AttentionVariant, choose, type DecodeVariant } from "./choose.ts";
import { type KvCache, needCache, slotElements } from "./kv-cache.ts";
import { type HeadNorm, needRope, ropeAppend } from "./rope.ts";

const MAX_HEAD = 128; // a thread holds 32 columns of its sums at most

/** What can be asked of attention beside its operands. */
export interface AttentionOptions {
  /** A variant by its name, instead of the one chosen for the adapter: for tests and benchmarks. */
  variant?: AttentionVariant | undefined;
  /** The same for decoding, one token over the cache. */
  decode?: DecodeVariant | undefined;
  /** What many rows' attention may do to its operands; by default what the program may. */
  precision?: Precision | undefined;
  /** Leaves what splits of the keys leave to the product behind (`MatmulOptions.splits`): the result is none without them. */
  apart?: boolean;
}

/** What came of attention, or will of its splits. */
export interface Attended extends Activation {
  splits?: Splits;
}

function needHead(op: string, headDim: number): void {
  needVec4s(op, "head width", headDim);
  need(headDim <= MAX_HEAD, op, `head width ${headDim} is over ${MAX_HEAD}`);
}

function needGroups(op: string, heads: number, kvHeads: number): void {
  need(heads % kvHeads === 0, op, `${heads} query heads do not divide over ${kvHeads} kv heads`);
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
    precision: options.precision ?? program.precision,
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
    dtype: "f32",
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
export function causalAttention(program: Program, q: Activation, cache: KvCache, heads: number, options: AttentionOptions = {}): Attended {
  const op = "causal attention";
  const { keys, values, dtype, slots, slot, kvHeads, headDim, context } = cache;
  needHead(op, headDim);
  needActivation(program, op, q, heads * headDim);
  needTokens(op, q);
  needCache(op, cache);
  needGroups(op, heads, kvHeads);
  const out = program.activation("attention", q.rows, q.width);
  if (slot === undefined) {
    need(program.maxRows(q.rows) <= slots, op, `${q.label} has more rows than the cache has slots`);
    const splits = decodeAttention(program, op, q, cache, out, decodeKernel(program.gpu, op, cache, options.decode));
    return attended(program, out, splits, options);
  }
  const offset = slot * slotElements(cache);
  choose(program.gpu, "attention", op, { width: headDim }, options.variant).record(program, {
    causal: true,
    precision: options.precision ?? program.precision,
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
    dtype,
    kOffset: offset,
    vOffset: offset,
    kvBatch: 0,
    kvHead: context * headDim,
    kvStride: headDim,
    out: out.buffer,
  });
  return out;
}

function attended(program: Program, out: Activation, splits: Splits | undefined, { apart }: AttentionOptions): Attended {
  if (splits && apart) return { ...out, splits };
  if (splits) putSplitsTogether(program, splits, out);
  return out;
}

/**
 * Norms (with `headNorm`) and rotates q and k of qkv [tokens, (heads + 2 kvHeads) · headDim], appends k and v to the cache, and attends as
 * `causalAttention` does:
 * [tokens, heads · headDim]. One dispatch for all of it where the kernel for decoding can.
 */
export function ropeAttention(
  program: Program,
  qkv: Activation,
  table: Bindable,
  cache: KvCache,
  heads: number,
  { headNorm, ...options }: AttentionOptions & { headNorm?: HeadNorm | undefined } = {},
): Attended {
  const op = "causal attention";
  const kernel = cache.slot === undefined ? decodeKernel(program.gpu, op, cache, options.decode) : undefined;
  if (!kernel?.rope?.(cache, heads / cache.kvHeads, headNorm !== undefined)) {
    return causalAttention(program, ropeAppend(program, qkv, table, cache, heads, headNorm), cache, heads, options);
  }
  needHead(op, cache.headDim);
  needGroups(op, heads, cache.kvHeads);
  needRope(program, op, qkv, table, cache, heads);
  if (headNorm) needVector(op, headNorm.weight, 2 * cache.headDim);
  const out = program.activation("attention", qkv.rows, heads * cache.headDim);
  return attended(program, out, decodeAttention(program, op, qkv, cache, out, kernel, table, headNorm), options);
}
