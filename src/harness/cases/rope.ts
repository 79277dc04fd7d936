import type { Program, Step } from "../../gpu/program.ts";
import type { KvDtype } from "../../ops/kv-cache.ts";
import { inverseFrequencies, ropeAppend, ropeTable } from "../../ops/rope.ts";
import { norm } from "../../reference/norm.ts";
import * as reference from "../../reference/rope.ts";
import { boundOf } from "../bounds.ts";
import { defineCase, type Expectation, type KernelCase, type Operands, stepOf, wholeOf } from "../case.ts";
import { rounded } from "../encode.ts";
import type { Random } from "../random.ts";

interface Spec {
  /** Tokens of one sequence, in the second of the cache's two slots. */
  tokens?: number;
  start?: number;
  /** Or a row for each slot that has a position: sequences of their own. */
  positions?: readonly (number | undefined)[];
  heads: number;
  kvHeads: number;
  headDim: number;
  context: number;
  theta: number;
  kv?: KvDtype;
  spare?: number;
  /** Eps of the norm of each head of q and k before rope; without it there is no such norm. */
  eps?: number;
  /** What the inputs are multiplied with: where they are small, eps decides. */
  small?: number;
}

/** Both are the one op `ropeAppend`: as `rope` the rotated queries are what is looked at, as `kv_append` the whole cache. */
export function ropeCase(op: "rope" | "kv_append", spec: Spec): KernelCase {
  const { heads, kvHeads, headDim: d, context, theta, positions, kv = "f32", spare = 0, eps, small = 1 } = spec;
  const decoded = positions && stepOf(positions);
  const step = decoded ?? { units: spec.tokens!, start: spec.start! };
  const params = {
    tokens: step.units,
    ...(positions ? { at: positions.map((position) => position ?? "none").join("/") } : { start: step.start }),
    ...{ heads, kv_heads: kvHeads, d, context, theta, kv },
    spare: spare || undefined,
    ...(eps ? { eps, small } : {}),
  };
  return defineCase(op, params, {
    bound: boundOf(op, eps && kv === "f32" ? "norm" : kv),
    step,
    maxUnits: step.units + spare,
    record: (program, operands) => recordRope(program, operands, spec, step),
  });
}

/** Records the op for a step. The reference: queries turned, and the cache as it was, with the step's keys, turned, and values put in. */
function recordRope(
  program: Program,
  operands: Operands,
  { heads, kvHeads, headDim: d, context, theta, positions, kv = "f32", spare = 0, eps, small = 1 }: Spec,
  step: Step,
): Expectation[] {
  const { random } = operands;
  const { units: tokens } = step;
  const width = (heads + 2 * kvHeads) * d;
  const xs = small === 1 ? random.withOutliers(tokens * width, width) : random.values(tokens * width).map((x) => x * small);
  const norms = eps ? random.values(2 * d) : undefined; // [2, d]
  const slots = positions ? positions.length + spare : 2;
  const content = () => rounded(random.values(slots * kvHeads * context * d), kv);
  const before = { keys: content(), values: content() };
  const cache = {
    keys: operands.storage("keys", before.keys.words),
    values: operands.storage("values", before.values.words),
    ...{ dtype: kv, slots, kvHeads, headDim: d, context },
    slot: positions ? undefined : 1,
  };
  const table = operands.storage("table", ropeTable(context, inverseFrequencies(d, theta)));
  const headNorm = norms && { weight: operands.vector("norms", norms), eps: eps! };
  const q = ropeAppend(program, operands.activation("qkv", { base: 0, unit: 1 }, width, xs), table, cache, heads, headNorm);
  const positionOf = (row: number) => step.positions?.[row] ?? step.start + row;
  const head = (row: number, i: number) => xs.subarray(row * width + i * d, row * width + (i + 1) * d);
  /** Head i of q and k, normed and rotated. */
  const rotated = (row: number, i: number) => {
    const from = i < heads ? 0 : d;
    const x = norms ? norm(head(row, i), norms.subarray(from, from + d), undefined, eps!) : head(row, i);
    return reference.rope(x, positionOf(row), theta);
  };
  /** A whole output, of which the step's rows of `count` heads are set. */
  const withRows = (
    all: Float64Array,
    count: number,
    placeOf: (row: number, h: number) => number,
    of: (row: number, h: number) => ArrayLike<number>,
  ) => {
    for (let row = 0; row < tokens; row++) for (let h = 0; h < count; h++) all.set(of(row, h), placeOf(row, h) * d);
    return all;
  };
  const inCache = (row: number, h: number) => ((step.slots?.[row] ?? 1) * kvHeads + h) * context + positionOf(row);
  const appended = (label: "keys" | "values", of: (row: number, h: number) => ArrayLike<number>) => {
    const old = before[label].values;
    return wholeOf(label, cache[label], old.length, () => withRows(Float64Array.from(old), kvHeads, inCache, of), kv);
  };
  const queries = () => withRows(new Float64Array(tokens * heads * d), heads, (row, h) => row * heads + h, rotated);
  return [
    wholeOf("q", q.buffer, tokens * heads * d, queries),
    appended("keys", (row, h) => rotated(row, heads + h)),
    appended("values", (row, h) => head(row, heads + kvHeads + h)),
  ];
}

/** The step's heads of one width, and the cache around the sizes of blocks, and at random. */
function* ofWidth(headDim: number, random: Random): Generator<KernelCase> {
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
    ] as const)
      yield ropeCase("rope", { tokens, start, heads, kvHeads, headDim, context: start + tokens, theta: 1e6, spare: tokens % 3 });
  }
  for (const theta of [1e4, 1e6]) yield ropeCase("rope", { tokens: 2, start: 1500, heads: 2, kvHeads: 1, headDim, context: 1502, theta });
  for (const kvHeads of [1, 2, 7]) {
    for (const [tokens, start, context] of [
      [1, 0, 1],
      [1, 64, 65],
      [1, 10, 300],
      [3, 0, 40],
      [65, 63, 129],
      [64, 3, 70],
    ] as const)
      yield ropeCase("kv_append", { tokens, start, heads: kvHeads, kvHeads, headDim, context, theta: 1e6 });
  }
  for (let i = 0; i < 8; i++) {
    const [tokens, start, kvHeads] = [random.integer(1, 80), random.integer(0, 200), random.integer(1, 4)];
    const context = start + tokens + random.integer(0, 60);
    const op = random.pick(["rope", "kv_append"] as const);
    yield ropeCase(op, { tokens, start, heads: kvHeads * random.integer(1, 5), kvHeads, headDim, context, theta: 1e6 });
  }
}

/** Keys and values in f16, and rows that are sequences of their own: some far apart, of all slots and of some. */
function* inSlots(): Generator<KernelCase> {
  for (const headDim of WIDTHS) {
    const of = { heads: 6, kvHeads: 2, headDim, theta: 1e6 };
    for (const op of ["rope", "kv_append"] as const) {
      for (const [tokens, start] of [
        [1, 0],
        [1, 64],
        [3, 5],
        [65, 63],
      ] as const)
        yield ropeCase(op, { ...of, tokens, start, context: start + tokens + (start % 2), kv: "f16", spare: tokens % 3 });
      for (const positions of [[0], [7, 0], [3, undefined, 64, 1], [undefined, 5], [0, 9, 8, 64, undefined, 2, 31, 63]]) {
        for (const kv of ["f32", "f16"] as const)
          yield ropeCase(op, { ...of, positions, context: 65, kv, spare: positions.length === 2 ? 1 : 0 });
      }
    }
  }
}

/** Heads that are normed (Qwen3), of ordinary values and of some at which eps decides. */
function* normedHeads(): Generator<KernelCase> {
  for (const headDim of [4, 20, 48, 80, 128, 256]) {
    for (const [small, eps] of [
      [1, 1e-6],
      [1e-3, 1e-6],
      [1e-3, 1e-5],
      [1e-6, 1e-6],
    ] as const) {
      const of = { headDim, theta: 1e6, eps, small };
      yield ropeCase("rope", { ...of, tokens: 3, start: 5, heads: 4, kvHeads: 2, context: 9, spare: 1 });
      yield ropeCase("kv_append", { ...of, tokens: 65, start: 63, heads: 3, kvHeads: 1, context: 130 });
      yield ropeCase("rope", { ...of, positions: [3, undefined, 64, 1], heads: 16, kvHeads: 8, context: 65 });
      yield ropeCase("kv_append", { ...of, positions: [7, 0], heads: 4, kvHeads: 4, context: 65, kv: "f16" });
    }
  }
}

const WIDTHS = [4, 20, 64, 80, 128]; // of a head

/** Rotary embedding, and the append of keys and values to the cache. */
export const ropeCases = (random: Random): KernelCase[] => [
  ...WIDTHS.flatMap((headDim) => [...ofWidth(headDim, random)]),
  ...inSlots(),
  ...normedHeads(),
  ropeCase("rope", { tokens: 1, start: 32767, heads: 1, kvHeads: 1, headDim: 4, context: 32768, theta: 1e6 }),
];
