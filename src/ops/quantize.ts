import type { Program } from "../gpu/program.ts";
import { type Bindable, BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype, type MatrixPart } from "../tensor/tensor.ts";
import { need, needRoom } from "./check.ts";

/** A stored dtype: what a conversion reads. */
export type PlainDtype = "f32" | "f16" | "bf16";

/** A stretch of weights that changes its format. */
export interface Conversion {
  /** Elements in `from`'s dtype, from the start of this storage. */
  source: Bindable;
  from: PlainDtype;
  to: MatrixDtype;
  /** The part's storage (codes and scales in q8 and q4). */
  part: MatrixPart;
  /** Elements of the part before the first one written; a multiple of 32 for q8 and q4, of 4 otherwise. */
  first: number;
  /** How many elements are written; a multiple of the same. */
  elements: number;
  /** u32 a tensor: how many of its elements (f16, bf16) or groups (q8, q4) the format cannot hold. */
  refused: Bindable;
  /** This tensor's place in `refused`. */
  counter: number;
}

const THREADS = 64;

const SOURCES: readonly MatrixDtype[] = ["f32", "f16", "bf16"];

/**
 * Converts a stretch of a weight matrix to another dtype on the GPU.
 *
 * @throws EngineError bad-input if the elements are not a whole number of groups, or more than one dispatch takes
 */
export function convert(program: Program, { source, from, to, part, first, elements, refused, counter }: Conversion): void {
  const op = `convert ${from} to ${to}`;
  const unit = isQuantized(to) ? GROUP : 4;
  need(SOURCES.includes(from), op, `${from} is not a stored dtype: ${SOURCES.join(", ")}`);
  need(to in BYTES_PER_ELEMENT, op, `${to} is not a format of weights: ${Object.keys(BYTES_PER_ELEMENT).join(", ")}`);
  need(from !== to, op, "there is nothing to convert");
  need(first % unit === 0 && elements % unit === 0 && elements > 0, op, `elements ${first} + ${elements} are not whole units of ${unit}`);
  need(first >= 0, op, `element ${first} is before the first`);
  needRoom(op, "the source", source, elements * BYTES_PER_ELEMENT[from]);
  needRoom(op, "the part", part.buffer, (first + elements) * BYTES_PER_ELEMENT[to]);
  if (isQuantized(to)) {
    need(part.scales !== undefined, op, "the part has no scales");
    needRoom(op, "the part's scales", part.scales, ((first + elements) / GROUP) * 2);
  }
  needRoom(op, "the counters", refused, (counter + 1) * 4);
  const workgroups = Math.ceil(elements / unit / THREADS);
  need(workgroups <= 65535, op, `${elements} elements are too many for one dispatch`);
  program.dispatch({
    kernel: {
      shader: `quantize.${to}` as const,
      libs: [
        `lib/weight.${from}`,
        ...(to === "f32" || to === "bf16" ? [] : (["lib/half"] as const)),
        isQuantized(to) ? "lib/groups" : "lib/cast",
      ],
      consts: {},
      bindings: isQuantized(to) ? "uuwrrww" : "uuwrrw",
    },
    params: [first / unit, elements / unit, counter],
    // Binding 4 is a weight library's own scales, which plain dtypes lack: it cannot stay empty.
    buffers: [refused, source, source, part.buffer, ...(part.scales ? [part.scales] : [])],
    workgroups: () => [workgroups, 1, 1],
  });
}
