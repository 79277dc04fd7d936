import type { KvDtype } from "../../ops/kv-cache.ts";
import { rounded } from "../encode.ts";
import { POISON } from "../guard.ts";
import type { Random } from "../random.ts";

interface CacheShape {
  slots: number;
  kvHeads: number;
  context: number;
  headDim: number;
}

/** Values of a cache [slots, kvHeads, context, headDim] up to `count` positions of each slot, and zero behind. */
export function drawCache(random: Random, { slots, kvHeads, context, headDim }: CacheShape, count: (slot: number) => number) {
  const values = new Float32Array(slots * kvHeads * context * headDim);
  for (let head = 0; head < slots * kvHeads; head++) {
    values.set(random.values(count(Math.floor(head / kvHeads)) * headDim), head * context * headDim);
  }
  return values;
}

/** The same as a device holds it: behind the last position lies poison, which attention must not see. Rounds `values` too. */
export function cacheWords(
  values: Float32Array<ArrayBuffer>,
  { kvHeads, context, headDim }: CacheShape,
  kv: KvDtype,
  count: (slot: number) => number,
) {
  const held = rounded(values, kv);
  values.set(held.values);
  const words = new Uint32Array(held.words.buffer.slice(0));
  const perHead = words.length / (values.length / (context * headDim));
  for (let head = 0; head < values.length / (context * headDim); head++) {
    const used = Math.ceil((count(Math.floor(head / kvHeads)) * perHead) / context);
    words.fill(POISON, head * perHead + used, (head + 1) * perHead);
  }
  return words;
}

/**
 * What real checkpoints do: a key channel far from zero in all keys alike (Qwen2.5's key bias), and large value channels. Keys whose
 * products with a query differ by thousands would leave nothing to compare: softmax is then a step function of the last bits.
 * @returns in what an output's element is measured: its column's size
 */
export function addOutliers(
  keys: Float32Array,
  values: Float32Array,
  headDim: number,
  random: Random,
  [key, value] = [100, 1000],
): (i: number) => number {
  const column = random.integer(0, headDim - 1);
  for (let i = column; i < keys.length; i += headDim) keys[i]! += key;
  for (let i = column; i < values.length; i += headDim) values[i]! *= value;
  return (i) => (i % headDim === column ? value : 1);
}

/** Keys of ever larger products with some queries: what an online softmax is relative to has to be raised from block to block. */
export function addSlope(keys: Float32Array, { context, headDim }: CacheShape, slope: number): void {
  for (let row = 0; row * headDim < keys.length; row++) keys[row * headDim]! += slope * (row % context);
}

/**
 * A table for rope of quarter turns, drawn for each position and column: exact in f32, so that keys are rounded to f16 as the reference
 * rounds them. (What rope itself computes has cases of its own.)
 */
export function quarterTurns(random: Random, context: number, headDim: number) {
  const table = new Float32Array(context * headDim);
  for (let i = 0; i < table.length; i += 2) {
    const quarter = random.integer(0, 3);
    table.set([[1, 0, -1, 0][quarter]!, [0, 1, 0, -1][quarter]!], i);
  }
  const rotated = (x: Float32Array, position: number) =>
    x.map((own, i) => {
      const half = headDim / 2;
      const at = position * headDim + 2 * (i % half);
      return own * table[at]! + (i < half ? -x[i + half]! : x[i - half]!) * table[at + 1]!;
    });
  return { table, rotated };
}
