import type { Program } from "../gpu/program.ts";
import { AWQ_GROUP, type Bindable, GROUP } from "../tensor/tensor.ts";
import { need, needRoom } from "./check.ts";

/** A Linear [out, inner] as AWQ packs it, on the GPU. */
export interface AwqStorage {
  out: number;
  inner: number;
  words: Bindable;
  zeros: Bindable;
  scales: Bindable;
}

/** Some rows, and where they go: `at` elements behind the start of `to`. */
export interface AwqRows {
  first: number;
  rows: number;
  to: Bindable;
  at: number;
}

const THREADS = 64;
/** What rows can become: values, or the codes and scales of q8. */
const BYTES = { f32: 4, q8: 1, scales: 2 } as const;

/** Unpacks rows of an AWQ matrix: exactly, into f32, into q8's codes, or into q8's scales (f16, one for 32 elements). */
export function unpackAwq(program: Program, packed: AwqStorage, to: keyof typeof BYTES, { first, rows, to: target, at }: AwqRows): void {
  const { out, inner, words, zeros, scales } = packed;
  const op = `awq ${to}`;
  need(out % 8 === 0 && inner % AWQ_GROUP === 0, op, `[${out}, ${inner}] are not whole words and groups of ${AWQ_GROUP}`);
  need(rows > 0 && first >= 0 && first + rows <= out, op, `rows ${first} + ${rows} of ${out}`);
  need(at >= 0 && at % 4 === 0, op, `${at} elements before them are not whole words`);
  const perRow = to === "scales" ? inner / GROUP : inner;
  needRoom(op, "the target", target, (at + rows * perRow) * BYTES[to]);
  needRoom(op, "the scales", scales, (inner / AWQ_GROUP) * out * 2);
  const params = (before: number) => [inner, out / 8, first, rows, before];
  if (to === "scales") {
    const groups = Math.ceil((rows * inner) / (2 * GROUP) / THREADS);
    program.dispatch({
      kernel: { shader: "awq.scales", consts: {}, bindings: "uurw" },
      params: params(at / 2),
      buffers: [scales, target],
      workgroups: () => [groups, 1, 1],
    });
    return;
  }
  needRoom(op, "the words", words, (inner * out) / 2);
  needRoom(op, "the zero points", zeros, ((inner / AWQ_GROUP) * out) / 2);
  const columns = Math.ceil((first + rows) / 8) - Math.floor(first / 8);
  program.dispatch({
    kernel: { shader: `awq.${to}` as const, libs: ["lib/awq"], consts: {}, bindings: "uurrrw" },
    params: params(at / 4),
    buffers: [words, zeros, scales, target],
    workgroups: () => [Math.ceil(columns / THREADS), inner / GROUP, 1],
  });
}
