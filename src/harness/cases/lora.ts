import { mergeLora } from "../../ops/lora.ts";
import { addLowRank } from "../../reference/lora.ts";
import { defineCase, type KernelCase, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

interface Spec {
  /** Of the matrix that a stretch is taken of. */
  inner: number;
  rank: number;
  first: number;
  elements: number;
  /** B's rows. */
  row: number;
  rows: number;
  at?: number;
}

/** A stretch of a matrix, to which a product of low rank is added; what lies around it stays. */
function mergeCase({ at = 0, ...spec }: Spec): KernelCase {
  const { inner, rank, first, elements, row, rows } = spec;
  const params = { ...spec, at: at || undefined };
  return defineCase("lora", params, {
    step: { units: 1, start: 0 },
    record(program, { random, storage }) {
      const [w, a, b] = [random.values(at + elements + 8), random.values(rank * inner), random.values(rows * rank)];
      const scale = random.pick([2, 0.5, 16 / Math.sqrt(8), -1]);
      const to = storage("W", w);
      mergeLora(program, { ...spec, to, at, a: storage("A", a), b: storage("B", b), scale });
      const expected = () => {
        const all = w.slice();
        addLowRank(all.subarray(at, at + elements), first, inner, { a, b, rank, scale: Math.fround(scale), row });
        return all;
      };
      return [wholeOf("W", to, w.length, expected)];
    },
  });
}

/** LoRA merged into weights while they are loaded. */
export function loraCases(random: Random): KernelCase[] {
  const whole = (inner: number, rank: number, rows: number): Spec => ({ inner, rank, first: 0, elements: inner * rows, row: 0, rows });
  return [
    whole(4, 1, 1),
    whole(128, 8, 64),
    whole(260, 3, 7),
    whole(1024, 64, 33),
    { ...whole(64, 4, 64), row: 64, rows: 64, elements: 64 * 192 }, // a third of q, k and v
    { ...whole(64, 4, 10), row: 100 }, // none of its rows
    { inner: 68, rank: 5, first: 132, elements: 200, row: 0, rows: 9, at: 12 }, // from the middle of a row to the middle of another
    { inner: 8192, rank: 2, first: 8192 * 3 + 4096, elements: 64, row: 3, rows: 1 },
    {
      inner: 4 * random.integer(1, 100),
      rank: random.integer(1, 40),
      first: 4 * random.integer(0, 50),
      elements: 4 * random.integer(1, 500),
      row: random.integer(0, 5),
      rows: random.integer(1, 30),
      at: 4 * random.integer(0, 5),
    },
  ].map(mergeCase);
}
