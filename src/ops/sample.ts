import { type Program, rowsOf, type Step } from "../gpu/program.ts";
import type { Activation, Bindable, Rows } from "../tensor/tensor.ts";
import { need, needActivation } from "./check.ts";
import type { Maxima } from "./matmul.ts";
import { alters, blocksOf, MOST_BIASES, PASSES, penalises, type SampleState, type Sampling } from "./sample-state.ts";

const BY_SLOT = 0xffffffff; // lib/sample

/** For how many rows of a step a kernel runs: all of them where one asks for what it does, else none. */
type Asked = (step: Step) => number;

function askedOf(state: SampleState, rows: Rows, from: number | "slots") {
  const all: Asked = (step) => rowsOf(rows, step);
  const where =
    (wants: (s: Sampling, masked: boolean) => boolean): Asked =>
    (step) => {
      const count = all(step);
      for (let row = 0; row < count; row++) {
        const slot = from === "slots" ? (step.slots?.[row] ?? row) : from + row;
        if (wants(state.asked[slot]!, state.maskOf[slot] !== undefined)) return count;
      }
      return 0;
    };
  return {
    all,
    drawn: where((s) => s.temperature > 0),
    topK: where((s) => s.temperature > 0 && s.topK > 0),
    topP: where((s) => s.temperature > 0 && s.topP < 1),
    penalised: where((s, masked) => penalises(s) || masked),
    biased: where((s) => s.logitBias.length > 0),
    changed: where((s, masked) => alters(s) || masked),
    told: ((step) => (state.tells ? all(step) : 0)) satisfies Asked,
  };
}

const kernelOf = (shader: "top" | "penalize" | "bias" | "blocks" | "histogram" | "pick" | "final" | "probability", bindings: string) =>
  ({
    ...{ shader: `sample.${shader}` as const, consts: {}, bindings },
    libs: ["lib/step", "lib/sample", ...(shader === "histogram" || shader === "pick" ? (["lib/wide", "lib/search"] as const) : [])],
  }) as const;

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
  const has = `${logits.label} has ${base} + ${unit} × ${program.maxUnits} rows from slot ${first} on`;
  need(first >= 0 && most <= state.slots, "sampling", `${has}, the state ${state.slots} slots`);
  const blocks = blocksOf(count);
  const { all, drawn, topK, topP, penalised, biased, changed, told } = askedOf(state, logits.rows, from);
  const stateRow = from === "slots" ? BY_SLOT : from;
  const { settings, counts, biases, masks, best, gumbel, histogram, searches, next, tops, sums, probabilities } = state;
  /** Of a row `groups` workgroups. Most steps leave out what is optional. */
  const run = (
    [shader, bindings]: Parameters<typeof kernelOf>,
    params: readonly number[],
    buffers: readonly Bindable[],
    groups: number,
    rows: Asked,
    optional = true,
  ) => {
    const kernel = kernelOf(shader, bindings);
    program.dispatch({ kernel, params: [count, ...params], buffers, optional, workgroups: (step) => [groups, rows(step), 1] });
  };
  const final = (candidates: Bindable, each: number, rows: Asked, optional: boolean) =>
    run(["final", "uurwww"], [stateRow, each], [candidates, settings, counts, next], 1, rows, optional);

  run(["top", "uurww"], [], [logits.buffer, tops, sums], blocks, told);
  if (maxima) final(maxima.buffer, maxima.blocks, (step) => (changed(step) ? 0 : all(step)), false);
  run(["penalize", "uurrrw"], [stateRow], [settings, counts, masks, logits.buffer], Math.ceil(count / 256), penalised);
  run(["bias", "uurrw"], [stateRow, MOST_BIASES], [settings, biases, logits.buffer], 1, biased);
  run(["blocks", "uurrww"], [stateRow], [settings, logits.buffer, best, histogram], blocks, maxima ? changed : all, maxima !== undefined);
  for (let pass = 0; pass < PASSES; pass++) {
    const buffers = [settings, logits.buffer, best, histogram, searches];
    run(["histogram", "uurrrww"], [stateRow, pass], buffers, blocks, pass < PASSES / 2 ? topK : topP);
  }
  run(["pick", "uurrrwrw"], [stateRow], [settings, logits.buffer, histogram, searches, best, gumbel], blocks, drawn);
  final(gumbel, blocks, drawn, true);
  final(best, blocks, (step) => (drawn(step) ? 0 : maxima ? changed(step) : all(step)), maxima !== undefined);
  run(["probability", "uurrrrw"], [stateRow, blocks], [tops, sums, next, logits.buffer, probabilities], 1, told);
}
