import { type Program, rowsOf } from "../gpu/program.ts";
import { type Activation, type Bindable, type Matrix, type Rows, scalesOf, type Vector } from "../tensor/tensor.ts";
import { need, needActivation, needMatrix, needRoom, needTokens, needVec4s, needVector } from "./check.ts";

const THREADS = 64;

/** Workgroups of a kernel with a thread an element (or vec4) of a row: (blocks of 64, rows). */
const perRow = (elements: number, rows: Rows) => (step: { units: number; start: number }) =>
  [Math.ceil(elements / THREADS), rowsOf(rows, step), 1] as const;

/** silu(gate) · up for x [rows, 2 width] = gate | up → [rows, width]. */
export function swiglu(program: Program, x: Activation): Activation {
  const width = x.width / 2;
  needVec4s("swiglu", "width", width);
  needActivation(program, "swiglu", x);
  const y = program.activation("swiglu", x.rows, width);
  program.dispatch({
    kernel: { shader: "swiglu", libs: ["lib/step"], consts: {}, bindings: "uurw" },
    params: [width / 4],
    buffers: [x.buffer, y.buffer],
    workgroups: perRow(width / 4, x.rows),
  });
  return y;
}

/** Bit 31 of an entry of `ids` marks a row of `visual` instead of a row of the table. */
export const VISUAL_FLAG = 0x80000000;

/**
 * Rows of `table` [vocabulary, width] and of `visual` [visual tokens, width] into x [tokens, width], by `ids` from the step's `start` on; with
 * `separate` (rows that are sequences of their own) by those of the rows' slots.
 */
export function embed(
  program: Program,
  ids: Bindable,
  table: Matrix,
  visual: Bindable,
  x: Activation,
  { separate = false }: { separate?: boolean } = {},
): void {
  const width = table.shape[1];
  needMatrix("embed", table);
  needActivation(program, "embed", x, width);
  needTokens("embed", x);
  needRoom("embed", "ids", ids, program.maxRows(x.rows) * 4);
  needRoom("embed", "visual", visual, width * 4);
  for (const part of table.parts) {
    program.dispatch({
      kernel: { shader: "embed.gather", libs: ["lib/step", `lib/weight.${table.dtype}`], consts: {}, bindings: "uurrrrw" },
      params: [width / 4, part.rowStart, part.rows, separate ? 1 : 0],
      buffers: [ids, part.buffer, scalesOf(part), visual, x.buffer],
      workgroups: perRow(width / 4, x.rows),
    });
  }
}

/** Where the patches of a tile lie. */
export interface PatchGrid {
  /** Pixels a side. */
  size: number;
  patch: number;
  /** Patches a side. */
  grid: number;
}

/** pixels f32 [tiles, 3, size, size] → patches as rows [tiles · (1 + grid²), 3 · patch²]; row 0 of a tile is zero. */
export function gatherPatches(program: Program, pixels: Bindable, { size, patch, grid }: PatchGrid): Activation {
  need(grid * patch === size, "patches", `${size} pixels are not ${grid} patches of ${patch}`);
  need(Number.isInteger(patch) && patch > 0 && Number.isInteger(grid), "patches", `a grid of ${grid} patches of ${patch} pixels`);
  needRoom("patches", "pixels", pixels, program.maxUnits * 3 * size * size * 4);
  const rows = { base: 0, unit: 1 + grid * grid };
  const width = 3 * patch * patch;
  const y = program.activation("patches", rows, width);
  program.dispatch({
    kernel: { shader: "patch.gather", libs: ["lib/step"], consts: {}, bindings: "uurw" },
    params: [size, patch, grid],
    buffers: [pixels, y.buffer],
    workgroups: perRow(width, rows),
  });
  return y;
}

/** Adds class token and positions to x [tiles · tokens, width], in place. */
export function addPositions(program: Program, x: Activation, classEmbedding: Vector, position: Vector): void {
  const tokens = x.rows.unit;
  needVec4s("positions", "width", x.width);
  need(x.rows.base === 0, "positions", `${x.label} has rows that belong to no tile`);
  needActivation(program, "positions", x);
  needVector("positions", classEmbedding, x.width);
  needVector("positions", position, tokens * x.width);
  program.dispatch({
    kernel: { shader: "patch.position", libs: ["lib/step"], consts: {}, bindings: "uurrw" },
    params: [x.width / 4, tokens],
    buffers: [classEmbedding.buffer, position.buffer, x.buffer],
    workgroups: perRow(x.width / 4, x.rows),
  });
}

/** Pixel unshuffle by 2 of x [tiles · (1 + grid²), width] → [tiles · (grid/2)², 4 width]; the class token is dropped. */
export function pixelUnshuffle(program: Program, x: Activation, grid: number): Activation {
  const op = "pixel unshuffle";
  need(grid % 2 === 0, op, `a grid of ${grid} patches a side is odd`);
  const tokens = 1 + grid * grid;
  need(x.rows.unit === tokens && x.rows.base === 0, op, `${x.label} has ${x.rows.base} + ${x.rows.unit} rows a tile, needs ${tokens}`);
  needVec4s(op, "width", x.width);
  needActivation(program, op, x);
  const rows = { base: 0, unit: (grid / 2) ** 2 };
  const y = program.activation("pixel_shuffle", rows, 4 * x.width);
  program.dispatch({
    kernel: { shader: "pixel_unshuffle", libs: ["lib/step"], consts: {}, bindings: "uurw" },
    params: [x.width / 4, grid],
    buffers: [x.buffer, y.buffer],
    workgroups: perRow(x.width, rows),
  });
  return y;
}
