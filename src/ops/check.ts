import { EngineError } from "../errors.ts";
import type { Activation, Rows, Vector } from "../tensor/tensor.ts";

/** Throws unless `ok`: an op says at once what it does not accept, instead of computing nonsense later. */
export function need(ok: boolean, op: string, problem: string): asserts ok {
  if (!ok) throw new EngineError("bad-input", `${op}: ${problem}`);
}

export const needQuads = (op: string, name: string, width: number): void =>
  need(width > 0 && width % 4 === 0, op, `${name} is ${width}, it must be a positive multiple of 4`);

export function needWidth(op: string, x: Activation | Vector, width: number): void {
  const has = "length" in x ? x.length : x.width;
  need(has === width, op, `${x.label} has width ${has}, needs ${width}`);
}

/** The constants of lib/step. */
export const rowConsts = (rows: Rows): { ROW_BASE: number; ROW_UNIT: number } => ({ ROW_BASE: rows.base, ROW_UNIT: rows.unit });

/** The bits of an f32: WGSL has no literal that is exact for every float. */
export const f32Bits = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;
