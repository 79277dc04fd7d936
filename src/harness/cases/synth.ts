import { fillSynthetic, type SyntheticRule } from "../../ops/synth.ts";
import { synthetic } from "../../reference/synthetic.ts";
import { defineCase, type KernelCase, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

/** A stretch of a synthetic tensor, written into storage that held something else. */
function synthCase(element: number, count: number, first: number, scale: number, offset = 0): KernelCase {
  const params = { element, count, first: first || undefined, scale, offset: offset || undefined };
  return defineCase("synth", params, {
    step: { units: 1, start: 0 },
    record(program, { random, storage }) {
      const rule: SyntheticRule = { k1: random.integer(0, 2 ** 32 - 1), k2: random.integer(0, 2 ** 32 - 1), scale, offset };
      const before = Uint32Array.from({ length: (first + count) / 2 + 3 }, () => random.integer(0, 2 ** 32 - 1));
      const out = storage("out", before);
      fillSynthetic(program, rule, { element, count, out, first });
      const expected = () => {
        const words = before.slice();
        const made = synthetic(rule, element, count);
        for (let i = 0; i < count; i += 2) words[(first + i) / 2] = made[i]! | (made[i + 1]! << 16);
        return words;
      };
      return [wholeOf("out", out, before.length, expected, "u32")];
    },
  });
}

/** Scales and offsets of facts/SYNTHETIC.md §3: the input's, a bias', a layer scale's, a norm's, a matrix'. */
const DISTRIBUTIONS = [
  [2, 0],
  [0.0625, 0],
  [0.0625, 0.1875],
  [0.125, 1],
  [2 ** -5, 0],
] as const;

/** Synthetic weights, which are made on the GPU. */
export function synthCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const [scale, offset] of DISTRIBUTIONS) {
    for (const count of [2, 6, 126, 512, 514, 4098]) cases.push(synthCase(0, count, 0, scale, offset));
    // The largest flat index of the models' tensors needs 29 bits; the hash takes 32.
    cases.push(synthCase(2 ** 29 - 100, 100, 0, scale, offset), synthCase(2 ** 32 - 1026, 1026, 30, scale, offset));
    cases.push(synthCase(2 * random.integer(0, 2 ** 30), 2 * random.integer(1, 1500), 2 * random.integer(1, 50), scale, offset));
  }
  return cases;
}
