import { EngineError } from "../errors.ts";
import type { Activation, Vector } from "../tensor/tensor.ts";

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

/** The bits of an f32, for a field of `params`. */
export const f32Bits = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;
