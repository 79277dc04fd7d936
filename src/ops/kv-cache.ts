import type { Bindable } from "../tensor/tensor.ts";

/** Keys (after rope) and values of one layer: f32 [kvHeads, context, headDim] each. */
export interface KvCache {
  keys: Bindable;
  values: Bindable;
  kvHeads: number;
  headDim: number;
  context: number;
}
