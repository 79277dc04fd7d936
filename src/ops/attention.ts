import type { Gpu } from "../gpu/device.ts";
import type { Program } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";
import { type DecodeVariant, decodeAttention } from "./attention-decode.ts";
import { panelAttention, type RowsAttention } from "./attention-panels.ts";
import { need, needActivation, needQuads, needTokens } from "./check.ts";
import { type KvCache, kvReader, needCache, rowElements } from "./kv-cache.ts";
import { hasPanels } from "./subgroups.ts";

const BLOCK = 64; // queries a workgroup
const MAX_HEAD = 128; // 16 keys and values of this width fill the 16 KiB of workgroup memory that every adapter has

/**
 * How many rows are attended at once: attention.flash everywhere; on CPU adapters panels (attention-panels.ts) with subgroups of 8, else
 * attention.thread.
 */
export type AttentionVariant = "flash" | "panels" | "thread";

export interface AttentionOptions {
  /** A variant by its name, instead of the one chosen for the adapter: for tests and benchmarks. */
  variant?: AttentionVariant | undefined;
  /** The same for a single token over the cache. */
  decode?: DecodeVariant | undefined;
}

/** Every variant that this device has, the best first. */
export function attentionVariants(gpu: Gpu): AttentionVariant[] {
  if (!gpu.software) return ["flash", "thread"];
  return hasPanels(gpu) ? ["panels", "thread", "flash"] : ["thread", "flash"];
}

function chosenVariant(program: Program, op: string, { variant }: AttentionOptions): AttentionVariant {
  const variants = attentionVariants(program.gpu);
  const chosen = variant ?? variants[0]!;
  need(variants.includes(chosen), op, `variant ${chosen} does not run on this adapter; it has ${variants.join(", ")}`);
  return chosen;
}

function needHead(op: string, headDim: number): void {
  needQuads(op, "head width", headDim);
  need(headDim <= MAX_HEAD, op, `head width ${headDim} is over ${MAX_HEAD}`);
}

/** Records a variant. The params of flash and thread stand in the order of lib/attention. */
function attend(program: Program, op: string, a: RowsAttention, options: AttentionOptions): void {
  const variant = chosenVariant(program, op, options);
  if (variant === "panels") {
    panelAttention(program, a);
    return;
  }
  const { causal, rows, heads, group, headDim } = a;
  program.dispatch({
    kernel: {
      shader: `attention.${variant}` as const,
      libs: ["lib/step", a.reader, "lib/attention"],
      consts: { D: headDim },
      bindings: "uurrrw",
    },
    params: [heads, group, causal ? 0 : rows, a.qStride, a.kOffset, a.vOffset, a.kvBatch, a.kvHead, a.kvStride, causal ? 1 : 0],
    buffers: [a.q, a.k, a.v, a.out],
    workgroups: ({ units }) => [Math.ceil((causal ? units : rows) / BLOCK), heads, causal ? 1 : units],
  });
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
  attend(
    program,
    op,
    {
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
    },
    options,
  );
  return out;
}

/**
 * Causal attention over the cache: q [tokens, heads · headDim] → the same shape. The tokens are those of the cache's `row`, or one of each
 * of its rows.
 */
export function causalAttention(
  program: Program,
  q: Activation,
  cache: KvCache,
  heads: number,
  options: AttentionOptions = {},
): Activation {
  const op = "causal attention";
  const { keys, values, rows, row, kvHeads, headDim, context } = cache;
  needHead(op, headDim);
  needActivation(program, op, q, heads * headDim);
  needTokens(op, q);
  needCache(op, cache);
  need(heads % kvHeads === 0, op, `${heads} query heads do not divide over ${kvHeads} kv heads`);
  const out = program.activation("attention", q.rows, q.width);
  if (row === undefined) {
    need(program.maxRows(q.rows) <= rows, op, `${q.label} has more rows than the cache`);
    decodeAttention(program, op, q, cache, out, options.decode);
    return out;
  }
  const offset = row * rowElements(cache);
  attend(
    program,
    op,
    {
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
    },
    options,
  );
  return out;
}
