import type { KernelSource, KernelSpec, Library } from "../gpu/kernel.ts";
import type { Program } from "../gpu/program.ts";
import type { Bindable } from "../tensor/tensor.ts";
import type { KvCache } from "./kv-cache.ts";
import { kvReader } from "./kv-cache.ts";
import type { Needs } from "./needs.ts";

/** Attention of many rows, as every kernel for it has to know it; offsets and strides in elements. */
export interface RowsAttention {
  causal: boolean;
  /** Queries, and keys, of a batch; if causal, the most that a step may have. */
  rows: number;
  keys: number;
  heads: number;
  group: number;
  headDim: number;
  batches: number;
  q: Bindable;
  qStride: number;
  k: Bindable;
  v: Bindable;
  /** The library that reads vec4s of keys and values. */
  reader: Library;
  kOffset: number;
  vOffset: number;
  kvBatch: number;
  kvHead: number;
  kvStride: number;
  out: Bindable;
}

/** A way to attend with many rows at once. */
export interface AttentionKernel {
  needs: Needs;
  record(program: Program, a: RowsAttention): void;
}

const BLOCK = 64; // queries a workgroup

/** Records a kernel on lib/attention: a block of queries a workgroup. */
export function attendInBlocks(program: Program, source: KernelSource, a: RowsAttention): void {
  const { causal, rows, heads, group, headDim } = a;
  program.dispatch({
    kernel: { ...source, libs: ["lib/step", a.reader, "lib/attention"], consts: { D: headDim }, bindings: "uurrrw" },
    params: [heads, group, causal ? 0 : rows, a.qStride, a.kOffset, a.vOffset, a.kvBatch, a.kvHead, a.kvStride, causal ? 1 : 0],
    buffers: [a.q, a.k, a.v, a.out],
    workgroups: ({ units }) => [Math.ceil((causal ? units : rows) / BLOCK), heads, causal ? 1 : units],
  });
}

/** Kernels for many rows that any adapter may run; CPU adapters have more (cpu/attention.ts). */
export const ATTENTIONS = {
  /** Keys and values through workgroup memory. Everywhere. */
  flash: { needs: {}, record: (program, a) => attendInBlocks(program, { shader: "attention.flash" }, a) },
} satisfies Record<string, AttentionKernel>;

/** A way for one query a row to meet the cache. */
export interface DecodeKernel {
  needs: Needs;
  /** How many keys of a context one workgroup (one split) takes. */
  splitKeys(context: number): number;
  /** The kernel for `group` query heads that share keys and values; its bindings are those of lib/decode. */
  spec(cache: KvCache, group: number): Omit<KernelSpec, "bindings"> & KernelSource;
}

/** Kernels for decoding that any adapter may run; CPU adapters have more (cpu/attention.ts). */
export const DECODES = {
  /** A thread a key, then a thread a column. Everywhere. */
  split: {
    needs: {},
    // Small splits, so that a long context fills the GPU, but at most 64 of them: one pass combines those cheaply.
    splitKeys: (context) => 64 * Math.ceil(context / 4096),
    spec: (cache, group) => ({
      shader: "attention.decode_split",
      libs: ["lib/step", kvReader(cache), "lib/decode"],
      consts: { D: cache.headDim, GROUP: group },
    }),
  },
} satisfies Record<string, DecodeKernel>;
