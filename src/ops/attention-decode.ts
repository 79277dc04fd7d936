import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";
import { need } from "./check.ts";
import { choose, type DecodeVariant } from "./choose.ts";
import type { KvCache } from "./kv-cache.ts";

const MAX_GROUP = 16; // query heads that share keys and values: a thread holds a sum for each

/**
 * Records the attention of one query a row, q [rows, heads · headDim], to the keys up to the row's position of its own sequence in the
 * cache, into `out` of the same shape. A workgroup takes a split of the keys, for all heads that share them; how many there are follows
 * from the step (its `start` is the furthest position), and one alone needs no combining.
 */
export function decodeAttention(
  program: Program,
  op: string,
  q: Activation,
  cache: KvCache,
  out: Activation,
  wanted: DecodeVariant | undefined,
): void {
  const { gpu } = program;
  const { keys, values, kvHeads, headDim, context } = cache;
  const heads = q.width / headDim;
  const group = heads / kvHeads;
  const kernel = choose(gpu, "decode", op, { width: headDim }, wanted);
  need(group <= MAX_GROUP, op, `${group} query heads share a kv head, ${MAX_GROUP} is the most`);
  const splitKeys = kernel.splitKeys(context);
  const splits = Math.ceil(context / splitKeys);
  const parts = program.activation(
    "attention parts",
    { base: q.rows.base * heads * splits, unit: q.rows.unit * heads * splits },
    headDim + 4,
  );
  program.dispatch({
    kernel: { ...kernel.spec(cache, group), bindings: "uurrrww" },
    params: [splits, splitKeys, context, kvHeads, group, headDim / 4],
    buffers: [q.buffer, keys, values, parts.buffer, out.buffer],
    workgroups: (step) => [kvHeads, Math.floor(step.start / splitKeys) + 1, rowsOf(q.rows, step)],
  });
  if (splits === 1) return;
  program.dispatch({
    kernel: { shader: "attention.combine", libs: ["lib/step"], consts: { D: headDim }, bindings: "uurw" },
    params: [splits, splitKeys, heads],
    buffers: [parts.buffer, out.buffer],
    workgroups: (step) => [step.start < splitKeys ? 0 : heads, rowsOf(q.rows, step), 1],
  });
}
