import { SafetensorsError } from "./errors.ts";
import { readExactly, readRange } from "./source.ts";
import { type ByteSource, bytesPerElement, MAX_READ, type TensorInfo } from "./types.ts";

/** A tensor and the file it lies in. */
export interface TensorEntry {
  readonly info: TensorInfo;
  readonly source: ByteSource;
}

/** A stretch of a tensor's bytes. */
export interface Piece {
  /** Where the piece begins, in bytes from the start of the tensor. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** How to read in pieces. */
export interface PieceOptions {
  /** Bytes in a piece, from 1 to 64 MiB (the default); rounded down to whole elements, but never below one. */
  readonly pieceBytes?: number;
  readonly signal?: AbortSignal | undefined;
  /**
   * Arrays of `pieceBytes` bytes that take the pieces in turn, where the source can read into one: a piece then lasts until as many
   * more have been asked for.
   */
  readonly into?: readonly Uint8Array[];
}

/**
 * Reads a tensor from its first byte to its last, one piece at a time; an empty tensor has no pieces.
 * Asks for the next piece only when the caller does, so at most one piece is in memory.
 *
 * @throws RangeError on a bad `pieceBytes`
 * @throws SafetensorsError naming the tensor on a short read; what the source or the signal throws passes through
 */
export async function* readPieces({ info, source }: TensorEntry, options: PieceOptions = {}): AsyncGenerator<Piece, void, undefined> {
  const { pieceBytes = MAX_READ, signal, into = [] } = options;
  if (!Number.isInteger(pieceBytes) || pieceBytes < 1 || pieceBytes > MAX_READ) {
    throw new RangeError(`pieceBytes is ${pieceBytes}, needs an integer from 1 to ${MAX_READ}`);
  }
  const element = bytesPerElement(info.dtype);
  const step = Math.max(element, pieceBytes - (pieceBytes % element));
  const short = into.find((array) => array.length < step);
  if (short) throw new RangeError(`an array to read into has ${short.length} bytes, needs ${step}`);
  const size = info.end - info.begin;
  let piece = 0;
  for (let offset = 0; offset < size; offset += step) {
    const length = Math.min(step, size - offset);
    const context = { tensor: info.name, signal, into: into[piece++ % into.length] };
    yield { offset, bytes: await readExactly(source, info.begin + offset, length, context) };
  }
}

/** How to read a whole tensor. */
export interface ReadTensorOptions {
  /** Refuse tensors above this many bytes; 64 MiB by default. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a whole tensor into one array of `info.end - info.begin` bytes, little-endian. Meant for small ones.
 *
 * @throws SafetensorsError naming the tensor where it is above `maxBytes` or a read is short; other failures pass through
 */
export async function readTensor({ info, source }: TensorEntry, options: ReadTensorOptions = {}): Promise<Uint8Array> {
  const { maxBytes = MAX_READ, signal } = options;
  const size = info.end - info.begin;
  if (size > maxBytes) {
    throw new SafetensorsError(`has ${size} bytes, the limit for reading it at once is ${maxBytes}`, {
      file: source.name,
      tensor: info.name,
      hint: "read it with readPieces, or raise maxBytes",
    });
  }
  return readRange(source, info.begin, size, { tensor: info.name, signal });
}
