import type { Memory } from "../gpu/memory.ts";
import type { Program, Step } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import { need, needActivation } from "./check.ts";
import type { Maxima } from "./matmul.ts";

/** How the next id is chosen from the logits; in transformers' order: penalty, temperature, top-k, top-p, min-p. */
export interface Sampling {
  /** 0: greedy, the first id of the largest logit; nothing below but the penalty matters then. */
  temperature: number;
  /** Keeps this many of the largest logits, and those equal to the last of them; 0: all. */
  topK: number;
  /** Keeps an id while those with larger logits hold less than this share of the probability; 1: all. */
  topP: number;
  /** Keeps ids whose probability is at least this times that of the most probable one; 0: all. */
  minP: number;
  /**
   * Logits of ids already generated are divided (positive) or multiplied (negative) by it; 1: off. As upstream, whose `generate` sees
   * embeddings instead of the prompt's ids, the prompt does not count.
   */
  repetitionPenalty: number;
  /** 0 … 2^53 - 1: the same seed gives the same ids on one adapter. */
  seed: number;
}

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };

const BLOCK = 2048; // logits a workgroup
const PASSES = 8;
const BINS = 256;
const MAX_VOCABULARY = 2 ** 20; // the limbs of the masses are summed in u32
const SETTINGS_BYTES = 32;

/** What sampling keeps on the GPU for some slots: settings, ids seen, scratch, and the ids chosen. */
export interface SampleState {
  slots: number;
  vocabSize: number;
  next: GPUBuffer; // u32 [slots]: the id that follows each slot's last token
  settings: GPUBuffer; // [slots], 32 bytes each
  seen: GPUBuffer; // a bit an id, u32 [slots, ceil(vocab / 32)]
  // Scratch, by the rows of a step:
  best: GPUBuffer; // (f32, u32) [slots, blocks]: the largest logit, and its id
  gumbel: GPUBuffer; // (f32, u32) [slots, blocks]: the largest logit with Gumbel noise added, and its id
  histogram: GPUBuffer; // u32 [slots, 8, 256, 3]
  searches: GPUBuffer; // 16 bytes [slots, 9]
  /** What each slot asks for, on the CPU's side: which kernels a step can leave out. */
  asked: Sampling[];
}

export const blocksOf = (vocabSize: number): number => Math.ceil(vocabSize / BLOCK);
const seenWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

export function createSampleState(memory: Memory, slots: number, vocabSize: number): SampleState {
  need(slots > 0 && vocabSize > 0, "sampling", `${slots} slots of a vocabulary of ${vocabSize}`);
  need(vocabSize < MAX_VOCABULARY, "sampling", `a vocabulary of ${vocabSize} is over ${MAX_VOCABULARY}`);
  const blocks = blocksOf(vocabSize);
  return {
    slots,
    vocabSize,
    next: memory.create("next ids", slots * 4),
    settings: memory.create("sampling settings", slots * SETTINGS_BYTES),
    seen: memory.create("sampling seen", slots * seenWords(vocabSize) * 4),
    best: memory.create("sampling best", slots * blocks * 8),
    gumbel: memory.create("sampling gumbel", slots * blocks * 8),
    histogram: memory.create("sampling histogram", slots * PASSES * BINS * 12),
    searches: memory.create("sampling searches", slots * (PASSES + 1) * 16),
    asked: Array.from({ length: slots }, () => GREEDY),
  };
}

export function destroySampleState(memory: Memory, { next, settings, seen, best, gumbel, histogram, searches }: SampleState): void {
  for (const buffer of [next, settings, seen, best, gumbel, histogram, searches]) memory.destroy(buffer);
}

/** Sets how a slot samples, and lets its sequence of random numbers and its ids seen begin anew. */
export function setSampling(memory: Memory, state: SampleState, slot: number, sampling: Sampling): void {
  const view = new DataView(new ArrayBuffer(SETTINGS_BYTES));
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = sampling;
  view.setFloat32(0, temperature, true);
  view.setUint32(4, topK < state.vocabSize ? topK : 0, true);
  view.setUint32(8, topP < 1 ? Math.min(0xffffffff, Math.max(1, Math.round(topP * 2 ** 32))) : 0, true);
  view.setFloat32(12, minP > 0 ? temperature * Math.log(minP) : -3.4e38, true);
  view.setFloat32(16, repetitionPenalty, true);
  view.setUint32(20, 0, true);
  view.setUint32(24, seed % 2 ** 32, true);
  view.setUint32(28, Math.floor(seed / 2 ** 32), true);
  memory.write(state.settings, slot * SETTINGS_BYTES, view);
  // Every step marks what it chose; only a penalty reads it.
  if (repetitionPenalty !== 1) {
    const words = seenWords(state.vocabSize);
    memory.write(state.seen, slot * words * 4, new Uint32Array(words));
  }
  state.asked[slot] = sampling;
}

const BY_SLOT = 0xffffffff; // lib/sample

/**
 * Chooses the next id of each row of logits [rows, vocab] into `state.next`. Row i uses slot `from` + i, or the step's slot for it; the step
 * has as many units as there are rows, or logits is one row. Kernels that no row asks for are left out of a step.
 *
 * @param maxima what the product that made the logits found already: a step of greedy rows looks at nothing else
 */
export function sample(program: Program, logits: Activation, state: SampleState, from: number | "slots" = 0, maxima?: Maxima): void {
  const count = state.vocabSize;
  need(logits.width === count, "sampling", `${logits.label} has width ${logits.width}, needs ${count}`);
  needActivation(program, "sampling", logits);
  const { base, unit } = logits.rows;
  const first = from === "slots" ? 0 : from;
  const most = first + program.maxRows(logits.rows);
  need(
    first >= 0 && most <= state.slots,
    "sampling",
    `${logits.label} has ${base} + ${unit} × ${program.maxUnits} rows from slot ${first} on, the state ${state.slots} slots`,
  );
  const blocks = blocksOf(count);
  const rowsIn = (step: Step) => logits.rows.base + logits.rows.unit * step.units;
  const asked = (wanted: (s: Sampling) => boolean) => (step: Step) => {
    const rows = rowsIn(step);
    for (let row = 0; row < rows; row++) if (wanted(state.asked[from === "slots" ? (step.slots?.[row] ?? row) : first + row]!)) return rows;
    return 0;
  };
  const drawn = asked((s) => s.temperature > 0);
  const topK = asked((s) => s.temperature > 0 && s.topK > 0);
  const topP = asked((s) => s.temperature > 0 && s.topP < 1);
  const penalised = asked((s) => s.repetitionPenalty !== 1);
  const changed = asked((s) => s.temperature > 0 || s.repetitionPenalty !== 1);
  const stateRow = from === "slots" ? BY_SLOT : from;
  const kernel = (shader: "penalize" | "blocks" | "histogram" | "pick" | "final", bindings: string) =>
    ({ shader: `sample.${shader}`, libs: ["lib/step", "lib/wide", "lib/sample"], consts: {}, bindings }) as const;
  const { settings, seen, best, gumbel, histogram, searches, next } = state;
  const final = (candidates: Bindable, each: number, rows: (step: Step) => number, optional: boolean) =>
    program.dispatch({
      kernel: kernel("final", "uurwww"),
      params: [count, stateRow, each],
      buffers: [candidates, settings, seen, next],
      optional,
      workgroups: (step) => [1, rows(step), 1],
    });
  if (maxima) final(maxima.buffer, maxima.blocks, (step) => (changed(step) ? 0 : rowsIn(step)), false);
  program.dispatch({
    kernel: kernel("penalize", "uurrw"),
    params: [count, stateRow],
    buffers: [settings, seen, logits.buffer],
    optional: true,
    workgroups: (step) => [Math.ceil(seenWords(count) / 64), penalised(step), 1],
  });
  program.dispatch({
    kernel: kernel("blocks", "uurrww"),
    params: [count, stateRow],
    buffers: [settings, logits.buffer, best, histogram],
    optional: maxima !== undefined,
    workgroups: (step) => [blocks, maxima ? changed(step) : rowsIn(step), 1],
  });
  for (let pass = 0; pass < PASSES; pass++) {
    program.dispatch({
      kernel: kernel("histogram", "uurrrww"),
      params: [count, stateRow, pass],
      buffers: [settings, logits.buffer, best, histogram, searches],
      optional: true,
      workgroups: (step) => [blocks, pass < PASSES / 2 ? topK(step) : topP(step), 1],
    });
  }
  program.dispatch({
    kernel: kernel("pick", "uurrrwrw"),
    params: [count, stateRow],
    buffers: [settings, logits.buffer, histogram, searches, best, gumbel],
    optional: true,
    workgroups: (step) => [blocks, drawn(step), 1],
  });
  final(gumbel, blocks, drawn, true);
  final(best, blocks, (step) => (drawn(step) ? 0 : maxima ? changed(step) : rowsIn(step)), maxima !== undefined);
}
