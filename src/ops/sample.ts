import { type Program, rowsOf, type Step } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import { need, needActivation } from "./check.ts";
import type { Maxima } from "./matmul.ts";
import { alters, blocksOf, MOST_BIASES, PASSES, penalises, type SampleState, type Sampling } from "./sample-state.ts";

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
  const rowsIn = (step: Step) => rowsOf(logits.rows, step);
  const asked = (wanted: (s: Sampling, masked: boolean) => boolean) => (step: Step) => {
    const rows = rowsIn(step);
    for (let row = 0; row < rows; row++) {
      const slot = from === "slots" ? (step.slots?.[row] ?? row) : first + row;
      if (wanted(state.asked[slot]!, state.maskOf[slot] !== undefined)) return rows;
    }
    return 0;
  };
  const drawn = asked((s) => s.temperature > 0);
  const topK = asked((s) => s.temperature > 0 && s.topK > 0);
  const topP = asked((s) => s.temperature > 0 && s.topP < 1);
  const penalised = asked((s, masked) => penalises(s) || masked);
  const biased = asked((s) => s.logitBias.length > 0);
  const changed = asked((s, masked) => alters(s) || masked);
  const told = (step: Step) => (state.tells ? rowsIn(step) : 0);
  const stateRow = from === "slots" ? BY_SLOT : from;
  const kernel = (shader: "top" | "penalize" | "bias" | "blocks" | "histogram" | "pick" | "final" | "probability", bindings: string) =>
    ({
      ...{ shader: `sample.${shader}` as const, consts: {}, bindings },
      libs: ["lib/step", "lib/sample", ...(shader === "histogram" || shader === "pick" ? (["lib/wide", "lib/search"] as const) : [])],
    }) as const;
  const { settings, counts, biases, masks, best, gumbel, histogram, searches, next, tops, sums, probabilities } = state;
  const final = (candidates: Bindable, each: number, rows: (step: Step) => number, optional: boolean) =>
    program.dispatch({
      kernel: kernel("final", "uurwww"),
      params: [count, stateRow, each],
      buffers: [candidates, settings, counts, next],
      optional,
      workgroups: (step) => [1, rows(step), 1],
    });
  program.dispatch({
    kernel: kernel("top", "uurww"),
    params: [count],
    buffers: [logits.buffer, tops, sums],
    optional: true,
    workgroups: (step) => [blocks, told(step), 1],
  });
  if (maxima) final(maxima.buffer, maxima.blocks, (step) => (changed(step) ? 0 : rowsIn(step)), false);
  program.dispatch({
    kernel: kernel("penalize", "uurrrw"),
    params: [count, stateRow],
    buffers: [settings, counts, masks, logits.buffer],
    optional: true,
    workgroups: (step) => [Math.ceil(count / 256), penalised(step), 1],
  });
  program.dispatch({
    kernel: kernel("bias", "uurrw"),
    params: [count, stateRow, MOST_BIASES],
    buffers: [settings, biases, logits.buffer],
    optional: true,
    workgroups: (step) => [1, biased(step), 1],
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
  program.dispatch({
    kernel: kernel("probability", "uurrrrw"),
    params: [count, stateRow, blocks],
    buffers: [tops, sums, next, logits.buffer, probabilities],
    optional: true,
    workgroups: (step) => [1, told(step), 1],
  });
}
