import type { Gpu } from "../gpu/device.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import { combineSplits, type DecodeKernel, type Splits } from "./attention-kernels.ts";
import { f32Bits, need } from "./check.ts";
import { choose, type DecodeVariant } from "./choose.ts";
import type { KvCache } from "./kv-cache.ts";
import type { HeadNorm } from "./rope.ts";

const MAX_GROUP = 16; // query heads that share keys and values
const ROUNDS = 4; // lib/splits
/** The kernel for decoding with this cache. @throws EngineError bad-input for a variant that the device does not have */
export const decodeKernel = (gpu: Gpu, op: string, { headDim }: KvCache, wanted: DecodeVariant | undefined): DecodeKernel =>
  choose(gpu, "decode", op, { width: headDim }, wanted);

/**
 * Records the attention of one query a row, q [rows, heads · headDim], to the keys up to the row's position of its own sequence in the
 * cache, into `out` of the same shape. A workgroup takes a split of the keys, for all heads that share them; how many there are follows
 * from the step (its `start` is the furthest position), and one alone needs no combining.
 *
 * @param table of rope, where `q` is q | k | v as the projection gives them and the kernel rotates and appends too
 * @returns the splits, where there may be several: putSplitsTogether, or a product behind, makes `out` of them
 */
export function decodeAttention(
  program: Program,
  op: string,
  q: Activation,
  cache: KvCache,
  out: Activation,
  kernel: DecodeKernel,
  table?: Bindable,
  headNorm?: HeadNorm,
): Splits | undefined {
  const { keys, values, kvHeads, headDim, context } = cache;
  const heads = out.width / headDim;
  const group = heads / kvHeads;
  need(group <= MAX_GROUP, op, `${group} query heads share a kv head, ${MAX_GROUP} is the most`);
  const { splitKeys, most = Number.POSITIVE_INFINITY, heads: atOnce = MAX_GROUP } = kernel;
  const splits = Math.min(most, Math.ceil(context / splitKeys));
  const few = program.maxRows(q.rows) === 1 ? Math.min(splits, kernel.few ?? splits) : splits;
  const rows = { base: q.rows.base * heads * splits, unit: q.rows.unit * heads * splits };
  const parts = program.activation("attention parts", rows, headDim + 4).buffer;
  const more = [...(table ? [table] : []), ...(headNorm ? [headNorm.weight.buffer] : [])];
  program.dispatch({
    kernel: table
      ? { ...kernel.rope!(cache, group, headNorm !== undefined)!, bindings: `uurwwww${"r".repeat(more.length)}` }
      : { ...kernel.spec(cache, group), bindings: "uurrrww" },
    params: [splits, splitKeys, context, kvHeads, group, headDim / 4, few, f32Bits(headNorm?.eps ?? 0)],
    buffers: [q.buffer, keys, values, parts, out.buffer, ...more],
    // A row before the furthest may have the most splits: they are larger where there would be too many.
    workgroups: (step) => [
      kvHeads * Math.ceil(group / atOnce),
      Math.min(step.start < few * ROUNDS * splitKeys ? few : splits, Math.floor(step.start / splitKeys) + 1),
      rowsOf(q.rows, step),
    ],
  });
  return splits > 1 ? { parts, headDim, heads, splits, splitKeys, few } : undefined;
}

/** Records what makes `out` of splits, in steps that have over `least` of them. */
export function putSplitsTogether(program: Program, all: Splits, out: Activation, least = 1): void {
  const { splitKeys, few } = all;
  const most = least > 1 ? few * ROUNDS * splitKeys : splitKeys; // keys
  combineSplits(program, all, out.buffer, (step) => (step.start < most ? 0 : rowsOf(out.rows, step)));
}
