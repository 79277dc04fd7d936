import type { Gpu } from "../gpu/device.ts";
import type { KernelSpec } from "../gpu/kernel.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";
import { need } from "./check.ts";
import { type KvCache, kvReader } from "./kv-cache.ts";
import { subgroupSize } from "./subgroups.ts";

/** How a query meets the cache: attention.decode_split everywhere, attention.decode_lanes on CPU adapters with subgroups of 4 or 8. */
export type DecodeVariant = "split" | "lanes";

const MAX_GROUP = 16; // query heads that share keys and values: a thread holds a sum for each

const LANES_SPAN = 248; // with 16 heads and 8 lanes 16 KiB of workgroup memory, which every adapter has

/** Every variant of decode attention on this device, the best first. */
export function attentionDecodeVariants(gpu: Gpu): DecodeVariant[] {
  const size = gpu.software ? subgroupSize(gpu) : undefined;
  return size === 4 || size === 8 ? ["lanes", "split"] : ["split"];
}

/**
 * Keys that a workgroup takes. split: few, so that a long context fills the GPU, but no more than 64 splits, which one pass combines
 * cheaply. lanes: as many as have their scores in workgroup memory at once; a CPU has few cores to fill.
 */
const spanOf = (variant: DecodeVariant, context: number): number => (variant === "lanes" ? LANES_SPAN : 64 * Math.ceil(context / 4096));

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
  const variants = attentionDecodeVariants(gpu);
  const variant = wanted ?? variants[0]!;
  need(variants.includes(variant), op, `variant ${variant} does not run on this adapter; it has ${variants.join(", ")}`);
  need(group <= MAX_GROUP, op, `${group} query heads share a kv head, ${MAX_GROUP} is the most`);
  const span = spanOf(variant, context);
  const splits = Math.ceil(context / span);
  const parts = program.activation(
    "attention parts",
    { base: q.rows.base * heads * splits, unit: q.rows.unit * heads * splits },
    headDim + 4,
  );
  const libs = ["lib/step", kvReader(cache), "lib/decode"] as const;
  const kernel: KernelSpec =
    variant === "lanes"
      ? {
          shader: "attention.decode_lanes",
          libs: [...libs, subgroupSize(gpu) === 4 ? "lib/lanes.4" : "lib/lanes.8"],
          consts: { D: headDim, GROUP: group, SPAN: LANES_SPAN },
          directives: ["enable subgroups;"],
          bindings: "uurrrww",
        }
      : { shader: "attention.decode_split", libs, consts: { D: headDim, GROUP: group }, bindings: "uurrrww" };
  program.dispatch({
    kernel,
    params: [splits, span, context, kvHeads, group, headDim / 4],
    buffers: [q.buffer, keys, values, parts.buffer, out.buffer],
    workgroups: (step) => [kvHeads, Math.floor(step.start / span) + 1, rowsOf(q.rows, step)],
  });
  if (splits === 1) return;
  program.dispatch({
    kernel: { shader: "attention.combine", libs: ["lib/step"], consts: { D: headDim }, bindings: "uurw" },
    params: [splits, span, heads],
    buffers: [parts.buffer, out.buffer],
    workgroups: (step) => [step.start < span ? 0 : heads, rowsOf(q.rows, step), 1],
  });
}
