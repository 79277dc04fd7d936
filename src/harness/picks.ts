import type { Random } from "./random.ts";

/** Which elements of a large output are compared: every pair of a row and a column. */
export interface Sample {
  rows: number[];
  columns: number[];
}

// Where tiles, blocks and workgroups of the usual sizes meet.
const BORDERS = [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256];

/** `count` of the numbers below `size`: the first and last ones, those at tile borders, then random ones; ascending. */
export function pickFrom(size: number, count: number, random: Random): number[] {
  if (count >= size) return Array.from({ length: size }, (_, i) => i);
  const fixed = [0, size - 1, size - 2, ...BORDERS, ...BORDERS.map((border) => size - border)];
  const picked = new Set(fixed.filter((i) => i >= 0 && i < size).slice(0, count));
  while (picked.size < count) picked.add(random.integer(0, size - 1));
  return [...picked].sort((a, b) => a - b);
}

/** Multiplications that one case spends on its reference: about a millisecond. */
const BUDGET = 1e6;

/** Elements of an output [rows, columns] to compare, where the reference of one costs `cost` multiplications. */
export function sampleOf(rows: number, columns: number, cost: number, random: Random): Sample {
  const elements = Math.max(256, Math.floor(BUDGET / cost));
  const side = Math.max(16, Math.floor(Math.sqrt(elements)));
  const pickedRows = pickFrom(rows, Math.max(side, Math.ceil(elements / columns)), random);
  return { rows: pickedRows, columns: pickFrom(columns, Math.max(16, Math.ceil(elements / pickedRows.length)), random) };
}

/** The places of a sample's elements in an output [rows, width]. */
export function indicesOf({ rows, columns }: Sample, width: number): Uint32Array {
  const out = new Uint32Array(rows.length * columns.length);
  let at = 0;
  for (const row of rows) for (const column of columns) out[at++] = row * width + column;
  return out;
}

/** Some whole rows of an output [rows, width], as many as cost about the budget; `each` gives one row's reference. */
export function sampleRows(
  rows: number,
  width: number,
  random: Random,
  each: (row: number) => ArrayLike<number>,
): { indices: Uint32Array; expected: () => Float64Array } {
  const picked = pickFrom(rows, Math.max(4, Math.floor(100_000 / width)), random);
  const columns = Array.from({ length: width }, (_, i) => i);
  return {
    indices: indicesOf({ rows: picked, columns }, width),
    expected() {
      const out = new Float64Array(picked.length * width);
      for (const [i, row] of picked.entries()) out.set(each(row), i * width);
      return out;
    },
  };
}
