import type { Program } from "../gpu/program.ts";
import { type Bindable, BYTES_PER_ELEMENT, GROUP, type Matrix } from "../tensor/tensor.ts";
import type { Operands } from "./case.ts";
import { drawWeights } from "./encode.ts";
import { GUARD } from "./guard.ts";
import type { Random } from "./random.ts";

/** Puts an operand on the GPU: `words` words, first the data. */
type Place = (label: string, words: number, data: Uint32Array<ArrayBuffer>) => Bindable;

/** 16-bit values as words; the half that may be left over is a NaN, which no kernel must let in. */
function wordsOf(halves: Uint16Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const padded = new Uint16Array(2 * Math.ceil(halves.length / 2)).fill(0x7e00);
  padded.set(halves);
  return new Uint32Array(padded.buffer);
}

/** A case's operands: between guards where it is tested, in plain buffers where it is timed. */
export function operandsOf(program: Program, random: Random, place: Place): Operands {
  const storage: Operands["storage"] = (label, data, words = data.length) =>
    place(label, words, new Uint32Array(data.buffer, data.byteOffset, data.length));
  return {
    random,
    storage,
    activation: (label, rows, width, values) => ({ label, rows, width, buffer: storage(label, values, program.maxRows(rows) * width) }),
    vector: (label, values) => ({ label, length: values.length, buffer: storage(label, values) }),
    matrix(label, out, inner, dtype, least = 1, small = false) {
      const encoded = drawWeights(random, out * inner, dtype, small);
      const { bytes, scales } = encoded;
      const rowBytes = inner * BYTES_PER_ELEMENT[dtype];
      const rowsFit = Math.floor((program.gpu.memory.maxBinding - 4 * GUARD) / rowBytes);
      const perPart = Math.min(Math.ceil(out / least), Math.max(1, rowsFit));
      const matrix: Matrix = {
        label,
        shape: [out, inner],
        dtype,
        parts: Array.from({ length: Math.ceil(out / perPart) }, (_, i) => {
          const rowStart = i * perPart;
          const end = Math.min(out, rowStart + perPart);
          const own = new Uint32Array(bytes.buffer, rowStart * rowBytes, ((end - rowStart) * rowBytes) / 4);
          const buffer = place(label, own.length, own);
          if (!scales) return { buffer, rowStart, rows: end - rowStart };
          const words = wordsOf(scales.slice((rowStart * inner) / GROUP, (end * inner) / GROUP));
          return { buffer, scales: place(`${label} scales`, words.length, words), rowStart, rows: end - rowStart };
        }),
      };
      return { matrix, ...encoded };
    },
  };
}
