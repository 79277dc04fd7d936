import { badWeights } from "../errors.ts";
import { asBadWeights } from "../hub/open.ts";
import { type Checkpoint, readExactly, type TensorEntry } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT, codeAt, elementsOf, GROUP, widenBf16, widenHalf } from "../tensor/tensor.ts";
import { CODES, isCoded, PLAIN, SCALES_SUFFIX } from "./formats.ts";
import { CHUNK_BYTES } from "./reads.ts";
import { bytesOf, readAll, readEntry, type TensorSource } from "./tensor-source.ts";

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

const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => widenHalf(bits));

/** Fills `to` with the values of a piece of stored elements. */
function decode(bytes: Uint8Array, dtype: string, scales: Uint16Array | undefined, first: number, to: Float32Array): number {
  const { buffer } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const start = bytes.byteOffset % 4 === 0 ? bytes.byteOffset : 0;
  const count = bytes.length / (CODES[dtype] ? BYTES_PER_ELEMENT[CODES[dtype]!] : BYTES_PER_ELEMENT[PLAIN[dtype]!]);
  if (dtype === "F32") to.set(new Float32Array(buffer, start, count));
  else if (dtype === "BF16") to.set(widenBf16(new Uint16Array(buffer, start, count)));
  else if (dtype === "F16") {
    const bits = new Uint16Array(buffer, start, count);
    for (let i = 0; i < count; i++) to[i] = HALVES[bits[i]!]!;
  } else for (let i = 0; i < count; i++) to[i] = codeAt(bytes, i, CODES[dtype]!) * HALVES[scales![Math.floor((first + i) / GROUP)]!]!;
  return count;
}

async function compare(
  original: TensorSource,
  converted: TensorEntry,
  scales: TensorEntry | undefined,
  signal?: AbortSignal,
): Promise<number> {
  const { name, dtype, begin, end, shape } = converted.info;
  const from = original.get(name)!;
  const perElement = (end - begin) / elementsOf(from.shape); // bytes
  if (String(shape) !== String(dtype === "U8" && from.dtype !== "U8" ? [shape[0], from.shape[1]! / 2] : from.shape))
    return Number.POSITIVE_INFINITY;
  const bitsOf = (bytes: Uint8Array) => new Uint16Array(Uint8Array.from(bytes).buffer);
  const coded = CODES[from.dtype] !== undefined;
  const scaleBits = scales && bitsOf(await readEntry(scales, signal));
  const fromScales = coded ? bitsOf(await readAll(original, name + SCALES_SUFFIX, signal)) : undefined;
  const stored = coded ? 1 : BYTES_PER_ELEMENT[PLAIN[from.dtype]!];
  const most = Math.min(elementsOf(from.shape), CHUNK_BYTES / stored); // elements of a chunk
  const [a, b] = [new Float32Array(most), new Float32Array(most)];
  let difference = 0;
  let size = 0;
  for await (const chunk of original.stream([name], signal)) {
    const first = chunk.offset / stored;
    const count = decode(await chunk.bytes(), from.dtype, fromScales, first, b);
    const bytes = await readExactly(converted.source, begin + first * perElement, count * perElement, { tensor: name, signal });
    decode(bytes, dtype, scaleBits, first, a);
    for (let i = 0; i < count; i++) {
      const d = a[i]! - b[i]!;
      difference += d * d;
      size += b[i]! * b[i]!;
    }
  }
  return size === 0 ? difference : difference / size;
}

/** The most error that a format can leave: far above what rounding does, far below what any mistake does. */
const MOST: Readonly<Record<string, number>> = { F32: 0, F16: 1e-6, BF16: 1e-4, I8: 1e-3, U8: 5e-2 };

/** What was made on the GPU is made on the CPU to compare it: sums may round otherwise there. */
const MADE_TWICE = 1e-12;

/**
 * Reads a converted checkpoint back and compares every tensor with the original's.
 *
 * @throws EngineError bad-weights naming a tensor that is missing, or off by more than its format explains
 */
export async function verifyConversion(
  original: TensorSource,
  converted: Checkpoint,
  options: { signal?: AbortSignal | undefined; onBytes?: ((bytes: number) => void) | undefined } = {},
): Promise<TensorReport[]> {
  const reports: TensorReport[] = [];
  const lengthOf = ({ info }: TensorEntry) => info.end - info.begin;
  for (const name of original.names()) {
    options.signal?.throwIfAborted();
    const from = original.get(name)!;
    const other = converted.tensors.get(name);
    const scales = converted.tensors.get(name + SCALES_SUFFIX);
    if (!other) throw badWeights(`tensor "${name}" is missing in the converted files`, "convert it again");
    options.onBytes?.(bytesOf(from));
    if (isCoded(original, name) && name.endsWith(SCALES_SUFFIX)) continue; // compared with their codes
    const nmse = await asBadWeights(() => compare(original, other, scales, options.signal));
    const { dtype } = other.info;
    const most = dtype !== from.dtype ? MOST[dtype] : from.from ? MADE_TWICE : 0;
    if (most === undefined || !(nmse <= most)) {
      const problem = `tensor "${name}" read back from the converted files has an NMSE of ${nmse}, at most ${most} is expected`;
      const hint = "its values lie below what the format can hold, or the disk or the adapter is at fault: try another format or --adapter";
      throw badWeights(problem, hint);
    }
    const bytes = lengthOf(other) + (scales ? lengthOf(scales) : 0);
    reports.push({ name, from: CODES[from.dtype] ?? from.dtype, to: CODES[dtype] ?? dtype, bytes, nmse });
  }
  return reports;
}
