import type { Program } from "../../gpu/program.ts";
import type { MatmulVariant } from "../../ops/choose.ts";
import { matmul } from "../../ops/matmul.ts";
import { sample } from "../../ops/sample.ts";
import { GREEDY, type SampleState, type Sampling, sampleState, setMask, setSampling, TOP } from "../../ops/sample-state.ts";
import { argmax } from "../../reference/argmax.ts";
import { changed, draw, keptIds, probable } from "../../reference/sample.ts";
import type { MatrixDtype } from "../../tensor/tensor.ts";
import { defineCase, type Expectation, type KernelCase, lacks, type Operands, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

/** The state of `slots` slots, its storage between guards. */
const stateOf = (program: Program, slots: number, vocabSize: number): SampleState =>
  sampleState((_, bytes) => program.arena.take(bytes) as GPUBuffer, slots, vocabSize);

/** Greedy sampling. `ties`: how many further places the largest value stands at, where the first must win. */
export function argmaxCase(count: number, rows: number, ties: number, slots?: readonly number[]): KernelCase {
  const params = { count, rows, ties: ties || undefined, slots: slots?.join("/") };
  return defineCase("argmax", params, {
    step: { units: rows, start: 0, slots },
    record(program, operands) {
      const { random } = operands;
      const values = random.values(rows * count).map((v) => v - 2); // all below zero
      for (let row = 0; row < rows; row++) {
        for (let i = 0; i <= ties; i++) values[row * count + random.integer(0, count - 1)] = -0.5;
      }
      const state = stateOf(program, slots ? Math.max(...slots) + 1 : rows, count);
      for (let slot = 0; slot < state.slots; slot++) setSampling(program.gpu.memory, state, slot, GREEDY);
      sample(program, operands.activation("logits", { base: 0, unit: 1 }, count, values), state, slots && "slots");
      const row = (i: number) => values.subarray(i * count, (i + 1) * count);
      const ids = () => Array.from({ length: rows }, (_, i) => argmax(row(i)));
      if (!slots) return [wholeOf("ids", state.next, rows, ids, "u32")];
      // The ids of the slots that have a row; the others' stay as they were.
      const content = Uint32Array.from({ length: state.slots }, (_, slot) => 7 * slot);
      program.gpu.memory.write(state.next, 0, content);
      const expected = () => content.map((old, slot) => (slots.includes(slot) ? ids()[slots.indexOf(slot)]! : old));
      return [wholeOf("ids", state.next, state.slots, expected, "u32")];
    },
  });
}

/** The head of a model with greedy sampling behind it: the product itself tells which logits are the largest. Without `x` all are equal. */
function headCase(m: number, n: number, k: number, weights: MatrixDtype, variant: MatmulVariant, norm: boolean, x = true): KernelCase {
  const params = { head: true, m, n, k, weights, norm, zero: !x, variant };
  return defineCase("argmax", params, {
    step: { units: m, start: 0 },
    unsupported: (gpu) => lacks(gpu, "matmul", variant, { dtype: weights, rows: m, width: k }),
    record(program, operands) {
      const { random } = operands;
      const xs = x ? random.values(m * k) : new Float32Array(m * k);
      const w = operands.matrix("w", n, k, weights);
      const state = stateOf(program, m, n);
      for (let row = 0; row < m; row++) setSampling(program.gpu.memory, state, row, GREEDY);
      const logits = matmul(program, operands.activation("x", { base: 0, unit: 1 }, k, xs), w.matrix, {
        norm: norm ? { weight: operands.vector("norm", new Float32Array(k).fill(1)), eps: 1e-6 } : undefined, // which changes no order
        maxima: true,
        variant,
      });
      sample(program, logits, state, 0, logits.maxima);
      const dot = (row: number, column: number) => {
        let sum = 0;
        for (let i = 0; i < k; i++) sum += xs[row * k + i]! * w.values[column * k + i]!;
        return sum;
      };
      const ids = () => Array.from({ length: m }, (_, row) => argmax(Array.from({ length: n }, (_, column) => dot(row, column))));
      return [wholeOf("ids", state.next, m, ids, "u32")];
    },
  });
}

const LEAST_MARGIN = 1e-4; // by which a draw must lead, and by which no threshold may be missed: rounding decides nothing then

/** The id that the definition draws; undefined where rounding could decide. */
function decided(logits: ArrayLike<number>, sampling: Sampling): number | undefined {
  if (sampling.temperature === 0) return argmax(logits);
  const { topP, minP } = sampling;
  const sizes = [1 - LEAST_MARGIN, 1 + LEAST_MARGIN].map(
    (slack) => keptIds(logits, { ...sampling, topP: topP < 1 ? topP * slack : 1, minP: minP < 1 ? minP * slack : 1 }).size,
  );
  const { id, margin } = draw(logits, sampling, 0);
  return sizes[0] === sizes[1] && margin > LEAST_MARGIN ? id : undefined;
}

/** Logits of a row, about as wide as a model's, half the time with ties; what was drawn before, what is allowed; and the id that must come. */
function drawRow(random: Random, count: number, { biases, masked, ...asked }: Sampling & Extra) {
  const some = (share: number) => Array.from({ length: Math.ceil(count / share) }, () => random.integer(0, count - 1));
  for (let attempt = 0; attempt < 100; attempt++) {
    const ties = random.next() < 0.5;
    const logits = random.values(count).map((v) => {
      const wide = 4 * (v + random.next() * 2 - 1);
      return ties ? Math.round(wide * 8) / 8 : wide;
    });
    const counts = new Map(some(5).map((id) => [id, random.integer(1, 4)]));
    const allowed = masked ? new Set(some(masked)) : undefined;
    const ids = [...new Set(Array.from({ length: biases ?? 0 }, () => random.integer(0, count - 1)))];
    const seed = random.integer(0, 2 ** 53 - 1);
    const sampling = { ...asked, seed, logitBias: ids.map((id) => [id, Math.fround(random.next() * 8 - 4)] as const) };
    const after = Float32Array.from(changed(logits, counts, sampling, allowed));
    const id = decided(after, sampling);
    if (id !== undefined) return { logits, counts, allowed, after, sampling, id };
  }
  throw new Error(`no draw among ${count} logits is decided: ${JSON.stringify(asked)}`);
}

/** What a row asks for besides how it samples: how many biases, and a mask that allows one id of every `masked`. */
interface Extra {
  biases?: number;
  masked?: number;
}

/** A draw in `rows` rows, each with a seed of its own; every second row is greedy and asks for nothing where `mixed`. */
function sampleCase(vocabulary: number, rows: number, some: Partial<Sampling> & Extra, mixed = false): KernelCase {
  const asked = { ...GREEDY, ...some };
  const params = {
    ...{ vocabulary, rows, temperature: some.temperature, top_k: some.topK, top_p: some.topP, min_p: some.minP },
    ...{ penalty: some.repetitionPenalty, presence: some.presencePenalty, frequency: some.frequencyPenalty },
    ...{ biases: some.biases, masked: some.masked, mixed },
  };
  return defineCase("sample", params, {
    step: { units: rows, start: 0 },
    record(program, operands) {
      const drawn = Array.from({ length: rows }, (_, i) => drawRow(operands.random, vocabulary, mixed && i % 2 ? GREEDY : asked));
      return recordDraws(program, operands, vocabulary, drawn);
    },
  });
}

/** A mask of some ids, a bit an id. */
function maskOf(ids: Iterable<number>, vocabulary: number): Uint32Array<ArrayBuffer> {
  const mask = new Uint32Array(Math.ceil(vocabulary / 32));
  for (const id of ids) mask[id >> 5]! |= 1 << (id & 31);
  return mask;
}

/** Has a slot's row of logits drawn from, each as it was decided: its id, what was changed of its logits, and how often ids were chosen. */
function recordDraws(program: Program, operands: Operands, vocabulary: number, rows: readonly ReturnType<typeof drawRow>[]): Expectation[] {
  const size = rows.length * vocabulary;
  const [logits, after, before] = [new Float32Array(size), new Float32Array(size), new Uint32Array(size)];
  const state = stateOf(program, rows.length, vocabulary);
  const { memory } = program.gpu;
  for (const [row, each] of rows.entries()) {
    logits.set(each.logits, row * vocabulary);
    after.set(each.after, row * vocabulary);
    for (const [id, times] of each.counts) before[row * vocabulary + id] = times;
    setSampling(memory, state, row, each.sampling);
    if (each.allowed) setMask(memory, state, row, maskOf(each.allowed, vocabulary));
  }
  memory.write(state.counts, 0, before); // which a new request clears
  const x = operands.activation("logits", { base: 0, unit: 1 }, vocabulary, logits);
  sample(program, x, state);
  const counts = () => {
    const counted = before.slice();
    for (const [row, { id }] of rows.entries()) counted[row * vocabulary + id]!++;
    return counted;
  };
  const allowed = Uint32Array.from(after.keys()).filter((i) => after[i]! > -1e38);
  return [
    wholeOf("ids", state.next, rows.length, () => rows.map(({ id }) => id), "u32"),
    { ...wholeOf("logits", x.buffer, size, () => Float32Array.from(allowed, (i) => after[i]!)), indices: allowed },
    wholeOf("counts", state.counts, size, counts, "u32"),
  ];
}

/** What probabilities follow from, of rows whose choice is changed by a mask. */
function probabilityCase(vocabulary: number, rows: number, ties = false): KernelCase {
  const params = { vocabulary, rows, ties };
  return defineCase("probability", params, {
    step: { units: rows, start: 0 },
    record(program, operands): Expectation[] {
      const logits = operands.random.values(rows * vocabulary).map((v) => (ties ? Math.round(v * 4) : v * 8));
      const state = stateOf(program, rows, vocabulary);
      const { memory } = program.gpu;
      const chosen = Array.from({ length: rows }, (_, row) => (row * 37) % vocabulary);
      for (const [row, id] of chosen.entries()) {
        setSampling(memory, state, row, { ...GREEDY, logitBias: [[id, 0.5]] });
        setMask(memory, state, row, maskOf([id], vocabulary));
      }
      state.tells = true;
      const x = operands.activation("logits", { base: 0, unit: 1 }, vocabulary, logits);
      sample(program, x, state);
      const row = (i: number) => logits.subarray(i * vocabulary, (i + 1) * vocabulary);
      const places = Uint32Array.from(chosen, (id, i) => i * vocabulary + id);
      const of = chosen.map((id, i) => ({ id, ...probable(row(i), TOP), logits: row(i) }));
      const found = Math.min(TOP, vocabulary);
      const at = (i: number, word: number) => i * 2 * (1 + TOP) + word;
      const values = of.flatMap((_, i) => [at(i, 0), at(i, 1), ...Array.from({ length: found }, (_, rank) => at(i, 2 + 2 * rank))]);
      const ids = of.flatMap((_, i) => Array.from({ length: found }, (_, rank) => at(i, 3 + 2 * rank)));
      const length = rows * 2 * (1 + TOP);
      const told = () => of.flatMap(({ norm, ids, id, logits }) => [norm, logits[id]! + 0.5, ...ids.map((each) => logits[each]!)]);
      return [
        { ...wholeOf("values", state.probabilities, length, told), indices: Uint32Array.from(values) },
        { ...wholeOf("logits", x.buffer, logits.length, () => Array.from(places, (at) => logits[at]! + 0.5)), indices: places },
        { ...wholeOf("ids", state.probabilities, length, () => of.flatMap((each) => each.ids), "u32"), indices: Uint32Array.from(ids) },
      ];
    },
  });
}

const SETTINGS: readonly (Partial<Sampling> & Extra)[] = [
  {},
  { topK: 1 },
  { topK: 3 },
  { topK: 50 },
  { topP: 1e-6 },
  { topP: 0.5 },
  { topP: 0.95 },
  { minP: 0.05 },
  { minP: 0.5 },
  { repetitionPenalty: 1.3 },
  { presencePenalty: 1.5 },
  { frequencyPenalty: -0.7 },
  { biases: 300 },
  { masked: 7 },
  { masked: 40, topK: 5, topP: 0.9, minP: 0.01, repetitionPenalty: 1.2, presencePenalty: 0.4, frequencyPenalty: 0.3, biases: 20 },
  { topK: 40, topP: 0.8 },
  { topK: 200, topP: 0.9, minP: 0.1, repetitionPenalty: 1.1 },
];

/** How the next id is chosen: greedy, and drawn from what temperature, top-k, top-p, min-p and a penalty leave. */
export function sampleCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const count of [1, 2, 3, 63, 65, 255, 256, 257, 1025, 151674]) {
    for (const ties of [0, 1, 5]) cases.push(argmaxCase(count, 1, ties), argmaxCase(count, 3, ties));
    for (const slots of [[3], [2, 0], [6, 1, 7]]) cases.push(argmaxCase(count, slots.length, 0, slots));
  }
  for (const variant of ["gemv_subgroup", "gemv_workgroup"] as const) {
    for (const [m, n, k] of [
      [1, 1, 64],
      [1, 333, 96],
      [2, 40, 96],
      [3, 2065, 64],
      [8, 70, 32],
    ] as const) {
      cases.push(headCase(m, n, k, "bf16", variant, m < 3));
    }
    cases.push(headCase(1, 517, 64, "q4", variant, true, false));
  }
  for (const vocabulary of [3, 63, 65, 1025, 2049]) {
    for (const temperature of [0.3, 1, 2]) {
      for (const each of SETTINGS) cases.push(sampleCase(vocabulary, temperature === 1 ? 4 : 1, { temperature, ...each }));
    }
    cases.push(
      sampleCase(vocabulary, 3, { repetitionPenalty: 2 }),
      sampleCase(vocabulary, 2, { presencePenalty: 2, frequencyPenalty: 1 }),
      sampleCase(vocabulary, 4, { masked: 9, biases: 3 }, true),
      probabilityCase(vocabulary, 2),
      probabilityCase(vocabulary, 3, true),
      sampleCase(vocabulary, 5, { temperature: 1, topK: 10, topP: 0.7 }, true),
    );
  }
  cases.push(sampleCase(1, 2, { temperature: 1 }), sampleCase(1, 1, { temperature: 1, topK: 1, topP: 0.5, minP: 1 }));
  for (let i = 0; i < 20; i++) {
    const some = {
      temperature: random.pick([0.2, 0.7, 1, 1.5]),
      topK: random.pick([0, 2, random.integer(1, 500)]),
      topP: random.pick([1, random.integer(10, 95) / 100]),
      minP: random.pick([0, random.integer(1, 30) / 100]),
      repetitionPenalty: random.pick([1, 0.8, 1.2]),
    };
    cases.push(sampleCase(random.integer(1, 5000), random.integer(1, 6), some, random.next() < 0.3));
  }
  cases.push(probabilityCase(151674, 1), sampleCase(151674, 2, { masked: 1000, frequencyPenalty: 0.5, biases: 300 }));
  cases.push(sampleCase(151674, 1, { temperature: 0.8, topK: 50, topP: 0.9, minP: 0.02, repetitionPenalty: 1.05 }));
  return cases;
}
