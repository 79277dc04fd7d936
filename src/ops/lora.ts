import type { Program } from "../gpu/program.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { f32Bits, need, needRoom, needVec4s } from "./check.ts";

/** A stretch of a matrix, and the adapter's factors that are added to it. */
export interface Merge {
  /** f32: the elements `first` … `first + elements` of a matrix [.., inner], from element `at` on; all three are multiples of 4. */
  to: Bindable;
  first: number;
  elements: number;
  at: number;
  inner: number;
  /** f32 [rank, inner] */
  a: Bindable;
  /** f32 [rows, rank], for the matrix's rows from `row` on. */
  b: Bindable;
  rank: number;
  scale: number;
  row: number;
  rows: number;
}

const THREADS = 64;
const ROWS = 4; // a thread

/** Adds scale · B · A to a stretch of a matrix, in place: a LoRA that is merged. A stretch that has none of its rows is left as it is. */
export function mergeLora(program: Program, { to, first, elements, at, inner, a, b, rank, scale, row, rows }: Merge): void {
  const op = "lora";
  needVec4s(op, "the width", inner);
  const whole = [first, elements, at].every((n) => n >= 0 && n % 4 === 0) && elements > 0;
  need(whole, op, `elements ${first} + ${elements} to ${at}: multiples of 4`);
  need(rank > 0 && rows > 0 && row >= 0, op, `rank ${rank}, rows ${row} + ${rows}`);
  needRoom(op, "the matrix", to, (at + elements) * 4);
  needRoom(op, "A", a, rank * inner * 4);
  needRoom(op, "B", b, rows * rank * 4);
  const from = Math.max(row, Math.floor(first / inner));
  const end = Math.min(row + rows, Math.ceil((first + elements) / inner));
  if (from >= end) return;
  const grid = [Math.ceil(inner / 4 / THREADS), Math.ceil((end - from) / ROWS), 1] as const;
  program.dispatch({
    kernel: { shader: "lora.merge", consts: {}, bindings: "uurrw" },
    params: [inner / 4, rank, f32Bits(scale), first / 4, elements / 4, at / 4, row, row + rows, from],
    buffers: [a, b, to],
    workgroups: () => grid,
  });
}
