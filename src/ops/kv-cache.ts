import type { ShaderName } from "../gpu/shaders.gen.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { need, needRoom } from "./check.ts";

/** How keys and values are held: f16 (two to a u32, rounded to the nearest), or f32 as they are computed. */
export type KvDtype = "f16" | "f32";

const BYTES: Readonly<Record<KvDtype, number>> = { f16: 2, f32: 4 };

/** Keys (after rope) and values of one layer: [rows, kvHeads, context, headDim] each, a row a sequence. */
export interface KvCache {
  keys: Bindable;
  values: Bindable;
  dtype: KvDtype;
  rows: number;
  kvHeads: number;
  headDim: number;
  context: number;
  /**
   * The sequence that all tokens of a step belong to, from position `start` on (prefill). Undefined: token r of a step is the next one
   * of the sequence in the step's slot for it, at the step's position for it (decode).
   */
  row?: number | undefined;
}

type Shape = Pick<KvCache, "dtype" | "kvHeads" | "headDim" | "context">;

/** Elements of one sequence's keys, and of its values. */
export const rowElements = ({ kvHeads, headDim, context }: Shape): number => kvHeads * context * headDim;

/** Bytes of one sequence's keys, and of its values. */
export const rowBytes = (shape: Shape): number => rowElements(shape) * BYTES[shape.dtype];

/** The libraries that read vec4s of keys and values, and that append to them. */
export const kvReader = ({ dtype }: Pick<KvCache, "dtype">): ShaderName => `lib/kv.${dtype}`;
export const kvWriter = ({ dtype }: KvCache): readonly ShaderName[] =>
  dtype === "f16" ? ["lib/half", "lib/append.f16"] : ["lib/append.f32"];

/** @throws EngineError bad-input where the storage is too small, or the sequence is none of the cache's */
export function needCache(op: string, cache: KvCache): void {
  const { keys, values, rows, row } = cache;
  need(rows > 0 && (row === undefined || (row >= 0 && row < rows)), op, `sequence ${row} of a cache for ${rows}`);
  needRoom(op, "keys", keys, rows * rowBytes(cache));
  needRoom(op, "values", values, rows * rowBytes(cache));
}
