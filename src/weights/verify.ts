import { EngineError } from "../errors.ts";
import { asBadWeights } from "../hub/open.ts";
import { type Checkpoint, readPieces, readTensor, type TensorEntry } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT, codeAt, GROUP, widenHalf } from "../tensor/tensor.ts";
import { CODES, PLAIN, SCALES_SUFFIX } from "./formats.ts";

/** How a tensor of a converted checkpoint differs from the original. */
export interface TensorReport {
  name: string;
  from: string;
  to: string;
  /** In the converted files, scales included. */
  bytes: number;
  /** Σ(a - b)² / Σb²; 0 for a tensor that was copied. */
  nmse: number;
}

const ELEMENTS = 2 ** 22; // a piece
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => widenHalf(bits));

/** Fills `to` with the values of a piece of stored elements. */
function decode(bytes: Uint8Array, dtype: string, scales: Uint16Array | undefined, first: number, to: Float32Array): number {
  const { buffer } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const start = bytes.byteOffset % 4 === 0 ? bytes.byteOffset : 0;
  const count = bytes.length / (CODES[dtype] ? BYTES_PER_ELEMENT[CODES[dtype]!] : BYTES_PER_ELEMENT[PLAIN[dtype]!]);
  if (dtype === "F32") to.set(new Float32Array(buffer, start, count));
  else if (dtype === "BF16") {
    const bits = new Uint16Array(buffer, start, count);
    const words = new Uint32Array(to.buffer);
    for (let i = 0; i < count; i++) words[i] = bits[i]! << 16;
  } else if (dtype === "F16") {
    const bits = new Uint16Array(buffer, start, count);
    for (let i = 0; i < count; i++) to[i] = HALVES[bits[i]!]!;
  } else for (let i = 0; i < count; i++) to[i] = codeAt(bytes, i, CODES[dtype]!) * HALVES[scales![Math.floor((first + i) / GROUP)]!]!;
  return count;
}

async function compare(
  original: TensorEntry,
  converted: TensorEntry,
  scales: TensorEntry | undefined,
  signal?: AbortSignal,
): Promise<number> {
  const read = (entry: TensorEntry, elements: number) => {
    const count = entry.info.shape.reduce((a, b) => a * b, 1) * (entry.info.dtype === "U8" ? 2 : 1);
    const pieceBytes = Math.round((elements * (entry.info.end - entry.info.begin)) / count);
    return readPieces(entry, { pieceBytes, ...(signal ? { signal } : {}) });
  };
  const scaleBits = scales && new Uint16Array(new Uint8Array(await readTensor(scales, { maxBytes: Number.MAX_SAFE_INTEGER })).buffer);
  const a = new Float32Array(ELEMENTS);
  const b = new Float32Array(ELEMENTS);
  let difference = 0;
  let size = 0;
  let first = 0;
  const others = read(converted, ELEMENTS);
  for await (const { bytes } of read(original, ELEMENTS)) {
    const other = await others.next();
    if (other.done) throw new EngineError("bad-weights", `tensor "${original.info.name}" was written too short`);
    const count = decode(bytes, original.info.dtype, undefined, first, b);
    decode(other.value.bytes, converted.info.dtype, scaleBits, first, a);
    for (let i = 0; i < count; i++) {
      const d = a[i]! - b[i]!;
      difference += d * d;
      size += b[i]! * b[i]!;
    }
    first += count;
  }
  return size === 0 ? difference : difference / size;
}

/** The most error that a format can leave: far above what rounding does, far below what any mistake does. */
const MOST: Readonly<Record<string, number>> = { F32: 0, F16: 1e-6, BF16: 1e-4, I8: 1e-3, U8: 5e-2 };

/**
 * Reads a converted checkpoint back and compares every tensor with the original's.
 *
 * @throws EngineError bad-weights naming a tensor that is missing, or off by more than its format explains
 */
export async function verifyConversion(
  original: Checkpoint,
  converted: Checkpoint,
  options: { signal?: AbortSignal | undefined; onBytes?: ((bytes: number) => void) | undefined } = {},
): Promise<TensorReport[]> {
  const reports: TensorReport[] = [];
  for (const [name, entry] of original.tensors) {
    options.signal?.throwIfAborted();
    const other = converted.tensors.get(name);
    const scales = converted.tensors.get(name + SCALES_SUFFIX);
    if (!other) throw new EngineError("bad-weights", `tensor "${name}" is missing in the converted files`);
    const nmse = await asBadWeights(() => compare(entry, other, scales, options.signal));
    const { dtype } = other.info;
    const most = dtype === entry.info.dtype ? 0 : MOST[dtype];
    if (most === undefined || !(nmse <= most)) {
      throw new EngineError(
        "bad-weights",
        `tensor "${name}" read back from the converted files has an NMSE of ${nmse}, at most ${most} is expected`,
        {
          hint: "its values lie below what the format can hold, or the disk or the adapter is at fault: try another format or --adapter",
        },
      );
    }
    const bytes = other.info.end - other.info.begin + (scales ? scales.info.end - scales.info.begin : 0);
    reports.push({ name, from: entry.info.dtype, to: CODES[dtype] ?? dtype, bytes, nmse });
    options.onBytes?.(entry.info.end - entry.info.begin);
  }
  return reports;
}
