import { type Program, rowsOf } from "../../gpu/program.ts";
import { type Activation, type Bindable, type Matrix, type MatrixDtype, scalesOf } from "../../tensor/tensor.ts";
import type { Finish } from "../matmul-kernels.ts";
import { kernel, lib } from "./source.ts";
import { copyToTexture, TEXTURE_STORAGE, TEXTURE_WIDTH } from "./texture-storage.ts";

const STRETCH = 64; // vec4s along K that a workgroup of matmul.pack takes
const SLICE_BYTES = 2 ** 23; // of w's panels and of products at a time: they stay in a CPU's last cache, and scratch memory stays small
const ROWS = 16; // of a tile: lib/panels
const COLUMNS = 64;

/** What matmul.pack has to know of a matrix: its rows, where to begin, and how they stand in a panel (`lane`, `next`, `half` there). */
interface Source {
  dtype: MatrixDtype;
  buffer: Bindable;
  scales: Bindable;
  rows: { base: number; unit: number };
  vec4s: number;
  first: number;
  lane: number;
  next: number;
  half: number;
}

/** Into a buffer, then into texture storage: a kernel that stores to the texture itself takes twice as long. */
function pack(program: Program, from: Source, out: GPUTexture, height: number, panels: (rows: number) => number): void {
  const { dtype, rows, vec4s, first, lane, next, half } = from;
  const size = (count: number) => panels(count) * height * vec4s;
  program.arena.scope(() => {
    const staged = program.arena.take(16 * TEXTURE_STORAGE.round(size(program.maxRows(rows))));
    program.dispatch({
      kernel: { ...kernel("cpu/matmul.pack"), libs: ["lib/step", `lib/weight.${dtype}`], consts: {}, bindings: "uuwrr" },
      params: [rows.base, rows.unit, vec4s, first, height, lane, next, half],
      buffers: [staged, from.buffer, from.scales],
      workgroups: (step) => [Math.ceil(vec4s / STRETCH), height / 8, panels(rowsOf(rows, step))],
    });
    copyToTexture(program, { from: staged, to: out, count: (step) => size(rowsOf(rows, step)) });
  });
}

/** How many columns fit `SLICE_BYTES` if one takes `bytes`, in whole tiles. */
const slice = (bytes: number): number => Math.max(1, Math.floor(SLICE_BYTES / (bytes * COLUMNS))) * COLUMNS;

/**
 * Records products by matmul.gemm_panels: x [rows, K] is put into panels once, w [N, K] a slice at a time (of gate | up with gate and up
 * alternating); `finish` records what is made of the products with n rows of w: f32 [rows, n up to a multiple of 64], columns of y from
 * `column` on.
 */
export function inPanels(program: Program, x: Activation, w: Matrix, gated: boolean, finish: Finish): void {
  const k = x.width;
  const vec4s = k / 4;
  program.arena.scope(() => {
    const padded = Math.ceil(program.maxRows(x.rows) / ROWS) * ROWS;
    const most = Math.min(slice(4 * k), slice(4 * padded), Math.ceil(w.shape[0] / COLUMNS) * COLUMNS);
    const xs = program.arena.takeOther(TEXTURE_STORAGE, padded * vec4s);
    const ws = program.arena.takeOther(TEXTURE_STORAGE, most * vec4s);
    const products = program.arena.take(4 * padded * most);
    const source = { dtype: "f32", buffer: x.buffer, scales: x.buffer, rows: x.rows, vec4s, first: 0, lane: 1, next: 8, half: 0 } as const;
    pack(program, source, xs, ROWS, (count) => Math.ceil(count / ROWS));
    for (const part of w.parts) {
      for (let first = 0; first < part.rows; first += most) {
        const n = Math.min(most, part.rows - first);
        const panels = Math.ceil(n / COLUMNS);
        const stored = { dtype: w.dtype, buffer: part.buffer, scales: scalesOf(part), rows: { base: part.rows, unit: 0 } };
        const alternating = { first, lane: COLUMNS / 8, next: 1, half: gated ? part.rows / 2 : 0 };
        pack(program, { ...stored, vec4s, ...alternating }, ws, COLUMNS, () => panels);
        program.dispatch({
          kernel: {
            ...kernel("cpu/matmul.gemm_panels"),
            libs: ["lib/step", lib("texture"), lib("operand.plain"), lib("panels")],
            directives: ["enable subgroups;"],
            consts: { TEXTURE_WIDTH },
            bindings: "uuttw",
          },
          params: [vec4s, (panels * COLUMNS) / 4],
          buffers: [xs, ws, products],
          workgroups: (step) => [panels, Math.ceil(rowsOf(x.rows, step) / ROWS), 1],
        });
        finish(products, n, part.rowStart + first);
      }
    }
  });
}
