import type { Gpu } from "../gpu/device.ts";
import { GROUP, type Matrix, type MatrixPart } from "../tensor/tensor.ts";
import { destinations, type RowsSource } from "./rows.ts";
import type { Chunk } from "./tensor-source.ts";

/** Takes a chunk of a tensor of scales, whose rows go where its source says. Gives the bytes that went to the GPU. */
type TakeScales = (chunk: Chunk, source: RowsSource) => Promise<number>;

/** Fills the scales of a quantised matrix, f16 [rows, K / 32]. */
export function scalesSink(gpu: Gpu, matrix: Matrix): TakeScales {
  const rowBytes = (matrix.shape[1] * 2) / GROUP;
  return rowBytes % 4 === 0 ? directly(matrix, rowBytes) : together(gpu, matrix, rowBytes);
}

function directly(matrix: Matrix, rowBytes: number): TakeScales {
  return async (chunk, source) => {
    let written = 0;
    for (const { part, from, to, at } of destinations(chunk, source, matrix, rowBytes)) {
      await chunk.put(from, to, part.scales!, at);
      written += to - from;
    }
    return written;
  };
}

/**
 * Puts them together on the CPU and writes them when the last ones are there: a row ends in the middle of a word, and words are what the GPU
 * takes. They are held only while the matrix's tensors go by.
 */
function together(gpu: Gpu, matrix: Matrix, rowBytes: number): TakeScales {
  const held = new Map<MatrixPart, Uint8Array<ArrayBuffer>>();
  let missing = matrix.shape[0] * rowBytes;
  const bytesOf = (part: MatrixPart): Uint8Array<ArrayBuffer> => {
    const bytes = held.get(part) ?? new Uint8Array(4 * Math.ceil((part.rows * rowBytes) / 4));
    held.set(part, bytes);
    return bytes;
  };
  return async (chunk, source) => {
    const bytes = await chunk.bytes();
    for (const { part, from, to, at } of destinations(chunk, source, matrix, rowBytes)) {
      bytesOf(part).set(bytes.subarray(from - chunk.offset, to - chunk.offset), at);
      missing -= to - from;
    }
    if (missing > 0) return 0;
    let written = 0;
    for (const [part, scales] of held) {
      gpu.memory.write(part.scales!, 0, scales);
      written += scales.length;
    }
    held.clear();
    return written;
  };
}
