import type { Gpu } from "../gpu/device.ts";
import type { KernelSpec } from "../gpu/kernel.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";
import { need } from "./check.ts";
import { type KvCache, kvOctReader, kvReader } from "./kv-cache.ts";
import { subgroupSize } from "./subgroups.ts";

/**
 * How a query meets the cache: attention.decode_split everywhere, attention.decode_lanes on CPU adapters with subgroups of 4,
 * attention.decode_octs on those with 8, where heads are a multiple of 8 wide. (What is cheap differs: with 4 lanes on SwiftShader octs
 * take 1.8 times as long as lanes, with 8 on lavapipe 0.63 times.)
 */
export type DecodeVariant = "split" | "lanes" | "octs";

const MAX_GROUP = 16; // query heads that share keys and values: a thread holds a sum for each

const LANES_SPAN = 248; // with 16 heads and 8 lanes 16 KiB of workgroup memory, which every adapter has

/** Every variant of decode attention on this device for heads of such a width, the best first. */
export function attentionDecodeVariants(gpu: Gpu, headDim: number): DecodeVariant[] {
  const size = gpu.software ? subgroupSize(gpu) : undefined;
  if (size === 8 && headDim % 8 === 0) return ["octs", "split"];
  return size === 4 ? ["lanes", "split"] : ["split"];
}

/**
 * Keys that a workgroup takes. split: few, so that a long context fills the GPU, but no more than 64 splits, which one pass combines
 * cheaply. Otherwise: as many as have their scores in workgroup memory at once; a CPU has few cores to fill.
 */
const spanOf = (variant: DecodeVariant, context: number): number => (variant === "split" ? 64 * Math.ceil(context / 4096) : LANES_SPAN);

function kernelOf(variant: DecodeVariant, cache: KvCache, group: number): KernelSpec {
  const consts = { D: cache.headDim, GROUP: group };
  const bindings = "uurrrww";
  if (variant === "split") return { shader: "attention.decode_split", libs: ["lib/step", kvReader(cache), "lib/decode"], consts, bindings };
  const lanes = { consts: { ...consts, SPAN: LANES_SPAN }, directives: ["enable subgroups;"], bindings };
  return variant === "lanes"
    ? { shader: "attention.decode_lanes", libs: ["lib/step", kvReader(cache), "lib/decode", "lib/lanes.4"], ...lanes }
    : { shader: "attention.decode_octs", libs: ["lib/step", kvOctReader(cache), "lib/decode", "lib/lanes.8"], ...lanes };
}

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
  const variants = attentionDecodeVariants(gpu, headDim);
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
  program.dispatch({
    kernel: kernelOf(variant, cache, group),
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
