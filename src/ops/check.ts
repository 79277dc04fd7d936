import { EngineError } from "../errors.ts";
import type { Program } from "../gpu/program.ts";
import {
  type Activation,
  type Bindable,
  BYTES_PER_ELEMENT,
  bindingOf,
  GROUP,
  isQuantized,
  type Matrix,
  type Vector,
} from "../tensor/tensor.ts";

/** Throws unless `ok`: an op says at once what it does not accept, instead of computing nonsense later. */
export function need(ok: boolean, op: string, problem: string): asserts ok {
  if (!ok) throw new EngineError("bad-input", `${op}: ${problem}`);
}

/** @throws EngineError bad-input where a width is not a positive multiple of 4 */
export const needVec4s = (op: string, name: string, width: number): void =>
  need(width > 0 && width % 4 === 0, op, `${name} is ${width}, it must be a positive multiple of 4`);

/** @throws EngineError bad-input where an operand has another width than the op needs */
export function needWidth(op: string, x: Activation | Vector, width: number): void {
  const has = "length" in x ? x.length : x.width;
  need(has === width, op, `${x.label} has width ${has}, needs ${width}`);
}

/** Storage that holds what its shape says: kernels do not see how long a buffer is. */
export function needRoom(op: string, name: string, storage: Bindable, bytes: number): void {
  const { buffer, offset = 0, size = (buffer as GPUBuffer).size - offset } = bindingOf(storage) as GPUBufferBinding;
  need(size >= bytes, op, `${name} has ${size} bytes of storage, its shape needs ${bytes}`);
}

/** Checks an activation's width (if one is given), and that its storage has room for every row of a step with the most units. */
export function needActivation(program: Program, op: string, x: Activation, width = x.width): void {
  needWidth(op, x, width);
  needRoom(op, x.label, x.buffer, program.maxRows(x.rows) * width * 4);
}

/** @throws EngineError bad-input where a vector has another length, or its storage less room */
export function needVector(op: string, x: Vector, length: number): void {
  needWidth(op, x, length);
  needRoom(op, x.label, x.buffer, length * 4);
}

/** One row a token, from the step's first token on. */
export function needTokens(op: string, { label, rows: { base, unit } }: Activation): void {
  need((base === 0 && unit === 1) || (base === 1 && unit === 0), op, `${label} has ${base} + ${unit} × units rows, needs one a token`);
}

/** A matrix whose width its format takes, and whose parts cover all rows in order, with storage for them. */
export function needMatrix(op: string, { label, shape, dtype, parts }: Matrix): void {
  const [n, k] = shape;
  const formats = Object.keys(BYTES_PER_ELEMENT);
  need(formats.includes(dtype), op, `${label} is ${dtype}, which is not a format of weights: ${formats.join(", ")}`);
  const vec4s = isQuantized(dtype) ? GROUP : 4;
  need(k > 0 && k % vec4s === 0, op, `K is ${k}, ${dtype} needs a positive multiple of ${vec4s}`);
  let next = 0;
  for (const part of parts) {
    const has = `a part of ${label} has the rows ${part.rowStart} + ${part.rows}`;
    need(part.rowStart === next && part.rows > 0, op, `${has}, expected from ${next} on`);
    next += part.rows;
    needRoom(op, label, part.buffer, part.rows * k * BYTES_PER_ELEMENT[dtype]);
    if (!isQuantized(dtype)) continue;
    need(part.scales !== undefined, op, `${label} is ${dtype} and has no scales`);
    needRoom(op, `${label}'s scales`, part.scales, ((part.rows * k) / GROUP) * 2);
  }
  need(next === n, op, `the parts of ${label} have ${next} rows, its shape ${n}`);
}

/** The bits of an f32, for a field of `params`. */
export const f32Bits = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;
