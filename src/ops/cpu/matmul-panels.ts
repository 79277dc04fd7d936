import { type Program, rowsOf } from "../../gpu/program.ts";
import { type Activation, type Bindable, type Matrix, type MatrixDtype, scalesOf } from "../../tensor/tensor.ts";
import type { Finish } from "../matmul-kernels.ts";
import { kernel, lib } from "./source.ts";
import { copyTexels, TEXELS, TEXELS_WIDE } from "./texels.ts";

const STRETCH = 64; // quads along K that a workgroup of matmul.pack takes
const SLICE_BYTES = 2 ** 23; // of w's panels and of products at a time: they stay in a CPU's last cache, and scratch memory stays small
const ROWS = 16; // of a tile: lib/panels
const COLUMNS = 64;

/** What matmul.pack has to know of a matrix: its rows, where to begin, and how they stand in a panel (`lane`, `next`, `half` there). */
interface Source {
  dtype: MatrixDtype;
  buffer: Bindable;
  scales: Bindable;
  rows: { base: number; unit: number };
  quads: number;
  first: number;
  lane: number;
  next: number;
  half: number;
}

/** Into a buffer, then as texels: storing them one by one in the kernel takes twice as long. */
function pack(program: Program, from: Source, out: GPUTexture, height: number, panels: (rows: number) => number): void {
  const { dtype, rows, quads, first, lane, next, half } = from;
  const texels = (count: number) => panels(count) * height * quads;
  program.arena.scope(() => {
    const staged = program.arena.take(16 * TEXELS.round(texels(program.maxRows(rows))));
    program.dispatch({
      kernel: { ...kernel("cpu/matmul.pack"), libs: ["lib/step", `lib/weight.${dtype}`], consts: {}, bindings: "uuwrr" },
      params: [rows.base, rows.unit, quads, first, height, lane, next, half],
      buffers: [staged, from.buffer, from.scales],
      workgroups: (step) => [Math.ceil(quads / STRETCH), height / 8, panels(rowsOf(rows, step))],
    });
    copyTexels(program, { from: staged, to: out, count: (step) => texels(rowsOf(rows, step)) });
  });
}

/** As many columns as `SLICE_BYTES` hold at so many bytes each, in whole tiles. */
const slice = (bytes: number): number => Math.max(1, Math.floor(SLICE_BYTES / (bytes * COLUMNS))) * COLUMNS;

/**
 * Records products by matmul.gemm_panels: x [rows, K] is put into panels once, w [N, K] a slice at a time (of gate | up with gate and up
 * alternating); `finish` records what is made of the products with n rows of w: f32 [rows, n up to a multiple of 64], columns of y from
 * `column` on.
 */
export function inPanels(program: Program, x: Activation, w: Matrix, gated: boolean, finish: Finish): void {
  const k = x.width;
  const quads = k / 4;
  program.arena.scope(() => {
    const padded = Math.ceil(program.maxRows(x.rows) / ROWS) * ROWS;
    const most = Math.min(slice(4 * k), slice(4 * padded), Math.ceil(w.shape[0] / COLUMNS) * COLUMNS);
    const xs = program.arena.takeOther(TEXELS, padded * quads);
    const ws = program.arena.takeOther(TEXELS, most * quads);
    const products = program.arena.take(4 * padded * most);
    const source = { dtype: "f32", buffer: x.buffer, scales: x.buffer, rows: x.rows, quads, first: 0, lane: 1, next: 8, half: 0 } as const;
    pack(program, source, xs, ROWS, (count) => Math.ceil(count / ROWS));
    for (const part of w.parts) {
      for (let first = 0; first < part.rows; first += most) {
        const n = Math.min(most, part.rows - first);
        const panels = Math.ceil(n / COLUMNS);
        const stored = { dtype: w.dtype, buffer: part.buffer, scales: scalesOf(part), rows: { base: part.rows, unit: 0 } };
        const alternating = { first, lane: COLUMNS / 8, next: 1, half: gated ? part.rows / 2 : 0 };
        pack(program, { ...stored, quads, ...alternating }, ws, COLUMNS, () => panels);
        program.dispatch({
          kernel: {
            ...kernel("cpu/matmul.gemm_panels"),
            libs: ["lib/step", lib("texture"), lib("operand.plain"), lib("panels")],
            directives: ["enable subgroups;"],
            consts: { TEXELS_WIDE },
            bindings: "uuttw",
          },
          params: [quads, (panels * COLUMNS) / 4],
          buffers: [xs, ws, products],
          workgroups: (step) => [panels, Math.ceil(rowsOf(x.rows, step) / ROWS), 1],
        });
        finish(products, n, part.rowStart + first);
      }
    }
  });
}
