import { type AttentionKernel, attendInBlocks, type DecodeKernel } from "../attention-kernels.ts";
import { type KvCache, kvReader } from "../kv-cache.ts";
import { panelAttention } from "./attention-panels.ts";
import { kernel, lib } from "./source.ts";
import { readsTextureStorage } from "./texture-storage.ts";

/** Attention with many rows for adapters that compute on the CPU. */
export const ATTENTIONS = {
  /** Scores, and their softmax's products with the values, as products of panels. */
  cpu_panels: { needs: { subgroupSize: [8], device: readsTextureStorage }, record: panelAttention },
  /** A thread a query. Everywhere. */
  cpu_thread: {
    needs: {},
    record: (program, a) =>
      attendInBlocks(program, { ...kernel("cpu/attention.thread"), consts: {} }, a, { block: 64, libs: [kvReader(a)] }),
  },
} satisfies Record<string, AttentionKernel>;

/**
 * Keys whose scores are in workgroup memory at once; a CPU has few cores to fill. With 16 heads and 8 lanes 16 KiB, which every adapter
 * has.
 */
const SPLIT_KEYS = 248;
const common = (cache: KvCache, group: number) =>
  ({ consts: { D: cache.headDim, GROUP: group, SPLIT_KEYS }, directives: ["enable subgroups;"] }) as const;

/**
 * Decoding: one query a row over the cache. Which is faster depends on the adapter: `cpu_vec8` took 1.8 times as long as `cpu_vec4` with
 * subgroups of 4 on SwiftShader, and 0.63 times as long with subgroups of 8 on lavapipe.
 */
export const DECODES = {
  cpu_vec4: {
    needs: { subgroupSize: [4] },
    splitKeys: SPLIT_KEYS,
    spec: (cache, group) => ({
      ...kernel("cpu/attention.decode_vec4"),
      libs: ["lib/step", kvReader(cache), "lib/splits", "lib/decode", lib("lanes.4")],
      ...common(cache, group),
    }),
  },
  cpu_vec8: {
    needs: { subgroupSize: [8], widthMultipleOf: 8 },
    splitKeys: SPLIT_KEYS,
    spec: (cache, group) => ({
      ...kernel("cpu/attention.decode_vec8"),
      libs: ["lib/step", `lib/kv_read.${cache.dtype}`, `lib/kv_vec8.${cache.dtype}`, "lib/splits", "lib/decode", lib("lanes.8")],
      ...common(cache, group),
    }),
  },
} satisfies Record<string, DecodeKernel>;
