import type { KernelSource, KernelSpec, Library, ShaderName } from "../gpu/kernel.ts";
import type { Grid, Precision, Program, Step } from "../gpu/program.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { type KvCache, type KvDtype, kvReader } from "./kv-cache.ts";
import type { Needs } from "./needs.ts";

/** Attention of many rows, as every kernel for it has to know it; offsets and strides in elements. */
export interface RowsAttention {
  causal: boolean;
  precision: Precision;
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
  /** How keys and values are held. */
  dtype: KvDtype;
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

/** How a kernel on lib/attention divides the work. */
interface Blocks {
  /** Queries a workgroup. */
  block: number;
  /** Libraries that read keys and values. */
  libs: readonly Library[];
  /** Splits of the keys in a step, 0 where it needs none of this dispatch; and the most. */
  splits?: (step: Step) => number;
  most?: number;
  /** Of operands in the type that matrix units take (attention.reals): where they lie, and the sizes that its kernels know. */
  reals?: { buffer: Bindable; sizes: readonly number[]; binding: "r" | "w" };
  /** Instead of a workgroup a block, head and batch. */
  workgroups?: (step: Step) => Grid;
}

/** Records a kernel on lib/attention. */
export function attendInBlocks(
  program: Program,
  source: KernelSource & Pick<KernelSpec, "consts" | "directives">,
  a: RowsAttention,
  { block, libs, splits = () => 1, most = 1, reals, workgroups }: Blocks,
): void {
  const { causal, rows, heads, group, headDim } = a;
  const sizes = [heads, group, causal ? 0 : rows, a.qStride, a.kOffset, a.vOffset, a.kvBatch, a.kvHead, a.kvStride];
  program.dispatch({
    kernel: {
      ...source,
      libs: ["lib/step", ...libs, "lib/attention"],
      consts: { D: headDim, ...source.consts },
      bindings: `uurrrw${reals?.binding ?? ""}`,
    },
    params: [...sizes, causal ? 1 : 0, most, ...(reals?.sizes ?? [])],
    buffers: [a.q, a.k, a.v, a.out, ...(reals ? [reals.buffer] : [])],
    workgroups: workgroups ?? ((step) => [Math.ceil((causal ? step.units : rows) / block), heads, causal ? splits(step) : step.units]),
  });
}

/** What splits of the keys leave, f32 [rows, heads, splits, headDim + 4], and how they are cut (lib/splits; not those of attention.flash). */
export interface Splits {
  parts: Bindable;
  headDim: number;
  heads: number;
  splits: number;
  splitKeys: number;
  few: number;
}

/** Records what puts the splits of keys together: of decode attention, or of attention.flash. */
export function combineSplits(
  program: Program,
  { parts, headDim, heads, splits, splitKeys, few }: Splits,
  out: Bindable,
  rows: (step: Step) => number,
): void {
  program.dispatch({
    kernel: {
      shader: "attention.combine",
      libs: ["lib/step", "lib/splits"],
      consts: { D: headDim, DECODE: splitKeys > 0 },
      bindings: "uurw",
    },
    params: [splits, splitKeys, heads, few],
    buffers: [parts, out],
    workgroups: (step) => [rows(step) > 0 ? heads : 0, rows(step), 1],
  });
}

const FLASH_BLOCK = 32;
const SPLIT_ROWS = 128; // of a step whose keys are split, at most: more rows fill a GPU without
const SPLIT_KEYS = 256; // of a split, at least
const MOST_SPLITS = 8;

/** attention.flash: a short chunk of a prompt that sees many keys (a further question) has them split over workgroups. */
export function flash(
  program: Program,
  a: RowsAttention,
  whole?: (program: Program, a: RowsAttention, wanted: (step: Step) => boolean) => void,
): void {
  const { causal, rows, heads, headDim } = a;
  const blocks = { block: FLASH_BLOCK, libs: kvBlocks(a) };
  const most = causal ? Math.min(MOST_SPLITS, Math.floor(a.keys / SPLIT_KEYS)) : 1;
  const splitsOf = ({ units, start }: Step) => {
    if (!causal || units > SPLIT_ROWS) return 1;
    const wanted = Math.ceil(512 / (Math.ceil(units / FLASH_BLOCK) * heads));
    return Math.max(1, Math.min(most, wanted, Math.floor((start + units) / SPLIT_KEYS)));
  };
  const splits = (step: Step) => (splitsOf(step) === 1 ? 1 : 0);
  if (whole) whole(program, a, (step) => splits(step) > 0);
  else attendInBlocks(program, { shader: "attention.flash", consts: { SPLIT: false } }, a, { ...blocks, splits });
  if (most < 2) return;
  const parts = program.activation("attention parts", { base: Math.min(rows, SPLIT_ROWS) * heads * most, unit: 0 }, headDim + 4).buffer;
  const several = { ...blocks, most, splits: (step: Step) => (splitsOf(step) > 1 ? splitsOf(step) : 0) };
  attendInBlocks(program, { shader: "attention.flash", consts: { SPLIT: true } }, { ...a, out: parts }, several);
  const all = { parts, headDim, heads, splits: most, splitKeys: 0, few: 0 };
  combineSplits(program, all, a.out, (step) => (splitsOf(step) > 1 ? step.units : 0));
}

/** The libraries that read keys and values in the largest loads that a head's width allows (lib/kv_block.*). */
const kvBlocks = ({ dtype, headDim }: Pick<KvCache, "dtype" | "headDim">): readonly ShaderName[] =>
  headDim % 8 === 0 ? [`lib/kv_read.${dtype}`, `lib/kv_vec8.${dtype}`, "lib/kv_block.vec8"] : [kvReader({ dtype }), "lib/kv_block.vec4"];

/** The same, for a kernel that appends to them. */
const kvAppender = ({ dtype }: KvCache): readonly ShaderName[] => [
  ...(dtype === "f16" ? (["lib/half"] as const) : []),
  `lib/kv_append.${dtype}`,
  `lib/kv_vec8.${dtype}`,
  "lib/kv_block.vec8",
];

/** Kernels for many rows that any adapter may run; matrix units (matrix/attention.ts) and CPU adapters (cpu/attention.ts) have more. */
export const ATTENTIONS = {
  /** Queries, keys and values through workgroup memory. Everywhere. */
  flash: { needs: {}, record: (program, a) => flash(program, a) },
} satisfies Record<string, AttentionKernel>;

type DecodeSpec = Omit<KernelSpec, "bindings"> & KernelSource;

/** A way for one query a row to meet the cache. */
export interface DecodeKernel {
  needs: Needs;
  /** How many keys one workgroup (one split) takes, and more where there would be over `most` of them. */
  splitKeys: number;
  most?: number;
  /** How many splits of one row a product behind may put together, as long as none is longer than four times `splitKeys`. */
  few?: number;
  /** How many of the heads that share keys a workgroup takes; all where absent. */
  heads?: number;
  /** The kernel for `group` query heads that share keys and values; its bindings are those of lib/decode. */
  spec(cache: KvCache, group: number): DecodeSpec;
  /**
   * The same on q | k | v before rope, which it does too, and the append, and before the heads' norm where there is one; the table is bound
   * behind the others, and the norm's weights behind that. Undefined where it cannot.
   */
  rope?(cache: KvCache, group: number, normed: boolean): DecodeSpec | undefined;
}

const DECODE_HEADS = 8; // of a workgroup of attention.decode_split

const decodeSplit = (cache: KvCache, group: number, libs: readonly ShaderName[]): DecodeSpec => ({
  shader: "attention.decode_split",
  libs: ["lib/step", ...libs],
  consts: { D: cache.headDim, GROUP: group },
});

/** Kernels for decoding that any adapter may run; CPU adapters have more (cpu/attention.ts). */
export const DECODES = {
  /** A quarter of a key a thread, then a vec4 of columns. Everywhere. */
  split: {
    needs: {},
    // A round of keys a split, so that a short context fills the GPU; not too many, since one pass combines them.
    splitKeys: 32,
    most: 64,
    few: 16,
    heads: DECODE_HEADS,
    spec: (cache, group) =>
      decodeSplit(cache, group, [...kvBlocks(cache), "lib/splits", "lib/decode", "lib/query.plain", "lib/query_norm.none"]),
    rope: (cache, group, normed) =>
      // Where several workgroups share a key, none could append it and be sure that the others wait.
      cache.headDim % 8 === 0 && group <= DECODE_HEADS
        ? decodeSplit(cache, group, [
            ...kvAppender(cache),
            "lib/splits",
            "lib/decode",
            "lib/query.rope",
            normed ? "lib/query_norm.rms" : "lib/query_norm.none",
          ])
        : undefined,
  },
} satisfies Record<string, DecodeKernel>;
