import type { Program } from "../gpu/program.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { f32Bits, need, needRoom } from "./check.ts";
import { shaders } from "./tools/shaders.gen.ts";

/** The hash keys and the distribution of one synthetic tensor (facts/SYNTHETIC.md §1 and §4). */
export interface SyntheticRule {
  k1: number;
  k2: number;
  scale: number;
  offset: number;
}

const THREADS = 256;

/** Where elements of a synthetic tensor go, and which. */
export interface SyntheticTarget {
  /** The first element, and how many. */
  element: number;
  count: number;
  out: Bindable;
  /** Elements in `out` before it. */
  first: number;
}

/** Writes the elements `element` … `element + count` of a synthetic tensor as bf16 to `out`, from its element `first` on; all three are even. */
export function fillSynthetic(
  program: Program,
  { k1, k2, scale, offset }: SyntheticRule,
  { element, count, out, first }: SyntheticTarget,
): void {
  const op = "synthetic weights";
  const even = [element, count, first].every((each) => each % 2 === 0) && count > 0;
  need(even, op, `elements ${element} + ${count} to ${first}: needs even numbers`);
  need(element >= 0 && first >= 0, op, `elements from ${element} to ${first}: there are none before the first`);
  needRoom(op, "the target", out, (first + count) * 2);
  const workgroups = Math.ceil(count / 2 / THREADS);
  need(workgroups <= 65535, op, `${count} elements are too many for one dispatch`);
  program.dispatch({
    kernel: { shader: "synth", code: shaders.synth, consts: {}, bindings: "uuw" },
    params: [k1, k2, element, first / 2, count / 2, f32Bits(scale * 2 ** -23), f32Bits(offset)],
    buffers: [out],
    workgroups: () => [workgroups, 1, 1],
  });
}
