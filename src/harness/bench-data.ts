import type { Memory } from "../gpu/memory.ts";
import { BYTES_PER_ELEMENT, GROUP, type Matrix, type MatrixDtype, widenHalf } from "../tensor/tensor.ts";

/** Numbers that look random and are the same in every run. */
export class Noise {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** 32 bits (xorshift32). */
  bits(): number {
    let s = this.#state;
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    this.#state = s;
    return s >>> 0;
  }

  /** f32 in [-scale, scale). */
  values(count: number, scale = 1): Float32Array<ArrayBuffer> {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = (this.bits() / 2 ** 31 - 1) * scale;
    return out;
  }

  below(end: number): number {
    return this.bits() % end;
  }
}

/** A weight matrix [rows, columns] as it lies on the GPU (tensor/tensor.ts), with the values that its bits stand for. */
export interface MatrixData {
  dtype: MatrixDtype;
  rows: number;
  columns: number;
  bytes: Uint8Array<ArrayBuffer>;
  /** q8 and q4: f16 bits [rows, columns / 32]. */
  scales: Uint16Array<ArrayBuffer> | undefined;
  value(row: number, column: number): number;
}

export function randomMatrix(noise: Noise, dtype: MatrixDtype, rows: number, columns: number): MatrixData {
  const count = rows * columns;
  const shape = { dtype, rows, columns, scales: undefined };
  switch (dtype) {
    case "f32": {
      const values = noise.values(count);
      return { ...shape, bytes: new Uint8Array(values.buffer), value: (r, c) => values[r * columns + c]! };
    }
    case "bf16":
    case "f16": {
      // Any sign and fraction, four exponents: bf16 2^-4 … 1, f16 2^-5 … 0.5.
      const bits = new Uint16Array(count);
      const base = dtype === "bf16" ? 0x3d80 : 0x2800;
      const mask = dtype === "bf16" ? 0x01ff : 0x0fff;
      for (let i = 0; i < count; i++) {
        const word = noise.bits();
        bits[i] = base + ((word >>> 16) & mask) + (word & 0x8000);
      }
      const wide = new Float32Array(1);
      const word = new Uint32Array(wide.buffer);
      const bf16 = (b: number) => {
        word[0] = b << 16;
        return wide[0]!;
      };
      const widen = dtype === "bf16" ? bf16 : widenHalf;
      return { ...shape, bytes: new Uint8Array(bits.buffer), value: (r, c) => widen(bits[r * columns + c]!) };
    }
    case "q8":
    case "q4": {
      const bytes = new Uint8Array(count * BYTES_PER_ELEMENT[dtype]);
      const words = new Uint32Array(bytes.buffer);
      for (let i = 0; i < words.length; i++) words[i] = noise.bits();
      const codes = new Int8Array(bytes.buffer);
      if (dtype === "q8") for (let i = 0; i < count; i++) if (codes[i] === -128) codes[i] = 127;
      const scales = new Uint16Array(count / GROUP);
      const base = dtype === "q8" ? 0x1c00 : 0x2c00; // 2^-8, 2^-4: values of about 1
      for (let i = 0; i < scales.length; i++) scales[i] = base + (noise.bits() >>> 22);
      const code = (i: number) => {
        if (dtype === "q8") return codes[i]!;
        const lane = i % 8;
        return ((bytes[(i >> 3) * 4 + (lane % 4)]! >> (lane < 4 ? 0 : 4)) & 15) - 8;
      };
      return { ...shape, bytes, scales, value: (r, c) => code(r * columns + c) * widenHalf(scales[(r * columns + c) >> 5]!) };
    }
    default:
      return dtype satisfies never;
  }
}

/** Puts a matrix on the GPU, by rows over as many buffers as one binding's size asks for. */
export function uploadMatrix(memory: Memory, label: string, data: MatrixData): Matrix {
  const rowBytes = data.columns * BYTES_PER_ELEMENT[data.dtype];
  const rowsPerPart = Math.min(data.rows, Math.floor(memory.maxBinding / rowBytes));
  const parts = [];
  for (let rowStart = 0; rowStart < data.rows; rowStart += rowsPerPart) {
    const rows = Math.min(rowsPerPart, data.rows - rowStart);
    const buffer = memory.create(label, rows * rowBytes);
    memory.write(buffer, 0, data.bytes.subarray(rowStart * rowBytes, (rowStart + rows) * rowBytes));
    const part = { buffer, rowStart, rows };
    if (!data.scales) {
      parts.push(part);
      continue;
    }
    const groups = data.columns / GROUP;
    const scales = memory.create(`${label}.scales`, rows * groups * 2);
    memory.write(scales, 0, data.scales.subarray(rowStart * groups, (rowStart + rows) * groups));
    parts.push({ ...part, scales });
  }
  return { label, shape: [data.rows, data.columns], dtype: data.dtype, parts };
}

/** Σ (a - b)² / Σ b²: infinite if a holds a NaN or an infinity. */
export function nmse(pairs: Iterable<readonly [actual: number, expected: number]>): number {
  let error = 0;
  let size = 0;
  for (const [actual, expected] of pairs) {
    error += (actual - expected) ** 2;
    size += expected ** 2;
  }
  const ratio = error / size;
  return Number.isFinite(ratio) ? ratio : Number.POSITIVE_INFINITY;
}
