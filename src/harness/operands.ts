import type { Program } from "../gpu/program.ts";
import { type Activation, BYTES_PER_ELEMENT, GROUP, type Matrix, type MatrixDtype, type Rows, type Vector } from "../tensor/tensor.ts";
import type { Operands } from "./case.ts";
import { drawWeights } from "./encode.ts";
import type { GuardedScratch } from "./guard.ts";
import type { Random } from "./random.ts";

/** 16-bit values as words; the half that may be left over is a NaN, which no kernel must let in. */
function wordsOf(halves: Uint16Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const padded = new Uint16Array(2 * Math.ceil(halves.length / 2)).fill(0x7e00);
  padded.set(halves);
  return new Uint32Array(padded.buffer);
}

/** Operands in guarded storage, for a program. */
export function guardedOperands(program: Program, scratch: GuardedScratch, random: Random): Operands {
  const storage: Operands["storage"] = (label, data, words = data.length) =>
    scratch.place(label, words, new Uint32Array(data.buffer, data.byteOffset, data.length));
  return {
    random,
    storage,
    activation: (label: string, rows: Rows, width: number, values): Activation => ({
      label,
      rows,
      width,
      buffer: storage(label, values, program.maxRows(rows) * width),
    }),
    vector: (label: string, values): Vector => ({ label, length: values.length, buffer: storage(label, values) }),
    matrix(label: string, out: number, inner: number, dtype: MatrixDtype, parts = 1) {
      const { bytes, scales, values } = drawWeights(random, out * inner, dtype);
      const rowBytes = inner * BYTES_PER_ELEMENT[dtype];
      const perPart = Math.ceil(out / parts);
      const matrix: Matrix = {
        label,
        shape: [out, inner],
        dtype,
        parts: Array.from({ length: Math.ceil(out / perPart) }, (_, i) => {
          const rowStart = i * perPart;
          const end = Math.min(out, rowStart + perPart);
          const own = new Uint32Array(bytes.buffer, rowStart * rowBytes, ((end - rowStart) * rowBytes) / 4);
          const buffer = scratch.place(label, own.length, own);
          if (!scales) return { buffer, rowStart, rows: end - rowStart };
          const words = wordsOf(scales.slice((rowStart * inner) / GROUP, (end * inner) / GROUP));
          return { buffer, scales: scratch.place(`${label} scales`, words.length, words), rowStart, rows: end - rowStart };
        }),
      };
      return { matrix, values };
    },
  };
}
