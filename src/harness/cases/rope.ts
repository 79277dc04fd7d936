import { ropeAppend, ropeTable } from "../../ops/rope.ts";
import * as reference from "../../reference/rope.ts";
import { defineCase, type Expectation, type KernelCase, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

interface Spec {
  tokens: number;
  start: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  context: number;
  theta: number;
  spare?: number;
}

/** Both are the one op `ropeAppend`: as `rope` the rotated queries are what is looked at, as `kv_append` the whole cache. */
function ropeCase(op: "rope" | "kv_append", { tokens, start, heads, kvHeads, headDim: d, context, theta, spare = 0 }: Spec): KernelCase {
  const params = { tokens, start, heads, kv_heads: kvHeads, d, context, theta, ...(spare ? { spare } : {}) };
  return defineCase(op, params, {
    step: { units: tokens, start },
    maxUnits: tokens + spare,
    record(program, operands): Expectation[] {
      const { random } = operands;
      const width = (heads + 2 * kvHeads) * d;
      const xs = random.withOutliers(tokens * width, width);
      const before = { keys: random.values(kvHeads * context * d), values: random.values(kvHeads * context * d) };
      const cache = {
        keys: operands.storage("keys", before.keys),
        values: operands.storage("values", before.values),
        kvHeads,
        headDim: d,
        context,
      };
      const table = operands.storage("table", ropeTable(context, d, theta));
      const q = ropeAppend(program, operands.activation("qkv", { base: 0, unit: 1 }, width, xs), table, cache, heads);
      const head = (row: number, i: number) => xs.subarray(row * width + i * d, row * width + (i + 1) * d);

      /** The cache as it was, with the step's rows of `kvHeads` heads put in. */
      const appended = (old: Float32Array, rowOf: (row: number, head: number) => ArrayLike<number>) => {
        const all = Float64Array.from(old);
        for (let h = 0; h < kvHeads; h++) {
          for (let row = 0; row < tokens; row++) all.set(rowOf(row, h), (h * context + start + row) * d);
        }
        return all;
      };
      const queries = () => {
        const all = new Float64Array(tokens * heads * d);
        for (let row = 0; row < tokens; row++) {
          for (let h = 0; h < heads; h++) all.set(reference.rope(head(row, h), start + row, theta), (row * heads + h) * d);
        }
        return all;
      };
      return [
        wholeOf("q", q.buffer, tokens * heads * d, queries),
        wholeOf("keys", cache.keys, before.keys.length, () =>
          appended(before.keys, (row, h) => reference.rope(head(row, heads + h), start + row, theta)),
        ),
        wholeOf("values", cache.values, before.values.length, () => appended(before.values, (row, h) => head(row, heads + kvHeads + h))),
      ];
    },
  });
}

/** Rotary embedding, and the append of keys and values to the cache. */
export function ropeCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const headDim of [2, 6, 64, 80, 128]) {
    for (const [heads, kvHeads] of [
      [1, 1],
      [14, 2],
      [16, 2],
    ] as const) {
      for (const [tokens, start] of [
        [1, 0],
        [1, 63],
        [3, 5],
        [65, 0],
        [63, 130],
      ] as const) {
        cases.push(ropeCase("rope", { tokens, start, heads, kvHeads, headDim, context: start + tokens, theta: 1e6, spare: tokens % 3 }));
      }
    }
    for (const theta of [1e4, 1e6])
      cases.push(ropeCase("rope", { tokens: 2, start: 1500, heads: 2, kvHeads: 1, headDim, context: 1502, theta }));
    for (const kvHeads of [1, 2, 7]) {
      for (const [tokens, start, context] of [
        [1, 0, 1],
        [1, 64, 65],
        [1, 10, 300],
        [3, 0, 40],
        [65, 63, 129],
        [64, 3, 70],
      ] as const) {
        cases.push(ropeCase("kv_append", { tokens, start, heads: kvHeads, kvHeads, headDim, context, theta: 1e6 }));
      }
    }
    for (let i = 0; i < 8; i++) {
      const [tokens, start, kvHeads] = [random.integer(1, 80), random.integer(0, 200), random.integer(1, 4)];
      const context = start + tokens + random.integer(0, 60);
      cases.push(
        ropeCase(random.pick(["rope", "kv_append"]), {
          tokens,
          start,
          heads: kvHeads * random.integer(1, 5),
          kvHeads,
          headDim,
          context,
          theta: 1e6,
        }),
      );
    }
  }
  cases.push(ropeCase("rope", { tokens: 1, start: 32767, heads: 1, kvHeads: 1, headDim: 4, context: 32768, theta: 1e6 }));
  return cases;
}
