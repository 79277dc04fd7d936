import type { ShaderName } from "../gpu/kernel.ts";
import type { Memory } from "../gpu/memory.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { need, needRoom } from "./check.ts";

/** How keys and values are held: f16 (two to a u32, rounded to the nearest), or f32 as they are computed. */
export type KvDtype = "f16" | "f32";

const BYTES: Readonly<Record<KvDtype, number>> = { f16: 2, f32: 4 };

/** Keys (after rope) and values of one layer: [slots, kvHeads, context, headDim] each, a sequence in each slot. */
export interface KvCache {
  keys: Bindable;
  values: Bindable;
  dtype: KvDtype;
  slots: number;
  kvHeads: number;
  headDim: number;
  context: number;
  /**
   * Where all tokens of a step belong, from position `start` on (prefill). Undefined: token r of a step is the next one of the sequence in
   * the step's slot for it, at the step's position for it (decode).
   */
  slot?: number | undefined;
}

type Shape = Pick<KvCache, "dtype" | "kvHeads" | "headDim" | "context">;

/** Elements of a slot's keys, and of its values. */
export const slotElements = ({ kvHeads, headDim, context }: Shape): number => kvHeads * context * headDim;

/** Bytes of a slot's keys, and of its values. */
export const slotBytes = (shape: Shape): number => slotElements(shape) * BYTES[shape.dtype];

/** What the caches of all layers follow from. */
interface Layers {
  layers: number;
  kvHeads: number;
  headDim: number;
}

/** Bytes of keys and values of all layers for a sequence of up to `context` tokens. */
export const kvBytes = ({ layers, kvHeads, headDim }: Layers, context: number, dtype: KvDtype): number =>
  2 * layers * slotBytes({ kvHeads, headDim, context, dtype });

/** The cache of layer `i`, for `slots` sequences of up to `context` tokens. */
export function createCache(
  memory: Memory,
  i: number,
  { kvHeads, headDim }: Layers,
  context: number,
  slots: number,
  dtype: KvDtype,
): KvCache {
  const shape = { dtype, slots, kvHeads, headDim, context };
  const bytes = slots * slotBytes(shape);
  return { ...shape, keys: memory.create(`kv.${i}.keys`, bytes), values: memory.create(`kv.${i}.values`, bytes) };
}

/** The caches of every layer. */
export const createCaches = (memory: Memory, c: Layers, context: number, slots: number, dtype: KvDtype): KvCache[] =>
  Array.from({ length: c.layers }, (_, i) => createCache(memory, i, c, context, slots, dtype));

/** The libraries that read vec4s of keys and values, and that append to them. */
export const kvReader = ({ dtype }: Pick<KvCache, "dtype">): ShaderName => `lib/kv.${dtype}`;
/** The libraries of kernels that write to a cache, by the format of its keys and values. */
export const kvWriter = ({ dtype }: KvCache): readonly ShaderName[] =>
  dtype === "f16" ? ["lib/half", "lib/append.f16"] : ["lib/append.f32"];

/** @throws EngineError bad-input where the storage is too small, or the slot is none of the cache's */
export function needCache(op: string, cache: KvCache): void {
  const { keys, values, slots, slot } = cache;
  need(slots > 0 && (slot === undefined || (slot >= 0 && slot < slots)), op, `slot ${slot} of a cache for ${slots}`);
  needRoom(op, "keys", keys, slots * slotBytes(cache));
  needRoom(op, "values", values, slots * slotBytes(cache));
}
