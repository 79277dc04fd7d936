import type { Gpu } from "../gpu/device.ts";
import { type KvCache, type KvDtype, rowBytes } from "../ops/kv-cache.ts";
import type { LanguageConfig } from "./config.ts";

/** Bytes of keys and values of all layers for a sequence of up to `context` tokens. */
export const kvBytes = (c: LanguageConfig, context: number, dtype: KvDtype): number => 2 * c.layers * layerBytes(c, context, dtype);

/** Bytes of one layer's keys of one sequence, and of its values: what one binding holds for every row. */
export const layerBytes = ({ kvHeads, headDim }: LanguageConfig, context: number, dtype: KvDtype): number =>
  rowBytes({ kvHeads, headDim, context, dtype });

/** Keys and values of layer `i` for `rows` sequences of up to `context` tokens. */
export function createCache(gpu: Gpu, c: LanguageConfig, i: number, context: number, rows: number, dtype: KvDtype): KvCache {
  const { kvHeads, headDim } = c;
  const bytes = rows * layerBytes(c, context, dtype);
  return {
    keys: gpu.memory.create(`kv.${i}.keys`, bytes),
    values: gpu.memory.create(`kv.${i}.values`, bytes),
    ...{ dtype, rows, kvHeads, headDim, context },
  };
}

/** Keys and values of every layer. */
export const createCaches = (gpu: Gpu, c: LanguageConfig, context: number, rows: number, dtype: KvDtype): KvCache[] =>
  Array.from({ length: c.layers }, (_, i) => createCache(gpu, c, i, context, rows, dtype));
