import { TEXELS_WIDE } from "../gpu/memory.ts";
import { type Program, rowsOf } from "../gpu/program.ts";
import { type Activation, type Bindable, type Matrix, type MatrixDtype, scalesOf } from "../tensor/tensor.ts";
import type { MatmulKernel } from "./matmul-variants.ts";

const STRETCH = 64; // quads along K that a workgroup of matmul.pack takes
const SLICE_BYTES = 2 ** 23; // of w's panels at a time: they stay in a CPU's last cache, and scratch memory stays small

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
    const staged = program.arena.take(16 * Math.ceil(texels(program.maxRows(rows)) / TEXELS_WIDE) * TEXELS_WIDE);
    program.dispatch({
      kernel: { shader: "matmul.pack", libs: ["lib/step", `lib/weight.${dtype}`], consts: {}, bindings: "uuwrr" },
      params: [rows.base, rows.unit, quads, first, height, lane, next, half],
      buffers: [staged, from.buffer, from.scales],
      workgroups: (step) => [Math.ceil(quads / STRETCH), height / 8, panels(rowsOf(rows, step))],
    });
    program.copyTexels({ from: staged, to: out, count: (step) => texels(rowsOf(rows, step)) });
  });
}

/**
 * Records a product by matmul.panels: x [rows, K] is put into panels once, w [N, K] a slice at a time (of gate | up with gate and up
 * alternating); `product` records what is made of them: n columns of y from `column` on.
 */
export function inPanels(
  program: Program,
  x: Activation,
  w: Matrix,
  kernel: MatmulKernel,
  gated: boolean,
  product: (xs: GPUTexture, ws: GPUTexture, n: number, column: number) => void,
): void {
  const k = x.width;
  const quads = k / 4;
  const { columns, rows } = kernel;
  const most = Math.max(1, Math.floor(SLICE_BYTES / (columns * k * 4))) * columns;
  const slice = Math.min(most, Math.ceil(w.shape[0] / columns) * columns);
  program.arena.scope(() => {
    const padded = Math.ceil(program.maxRows(x.rows) / rows) * rows;
    const xs = program.arena.takeTexels(padded * quads);
    const ws = program.arena.takeTexels(slice * quads);
    const source = { dtype: "f32", buffer: x.buffer, scales: x.buffer, rows: x.rows, quads, first: 0, lane: 1, next: 8, half: 0 } as const;
    pack(program, source, xs, rows, (count) => Math.ceil(count / rows));
    for (const part of w.parts) {
      for (let first = 0; first < part.rows; first += slice) {
        const n = Math.min(slice, part.rows - first);
        const stored = { dtype: w.dtype, buffer: part.buffer, scales: scalesOf(part), rows: { base: part.rows, unit: 0 } };
        const alternating = { first, lane: columns / 8, next: 1, half: gated ? part.rows / 2 : 0 };
        pack(program, { ...stored, quads, ...alternating }, ws, columns, () => Math.ceil(n / columns));
        product(xs, ws, n, part.rowStart + first);
      }
    }
  });
}
