/**
 * Random access to one file: on disk, behind HTTP, a `Blob`, or in memory.
 *
 * This package brings only `memorySource`; the caller writes the others.
 */
export interface ByteSource {
  /** How messages name the file, for example `model-00001-of-00002.safetensors`. */
  readonly name: string;
  /** Bytes in the whole file. */
  readonly size: number;
  /**
   * The bytes `[offset, offset + length)`; the caller owns them and may change them.
   * Must give exactly `length` bytes or reject. This package never asks for more than 64 MiB at once, nor past `size`.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * Fills `into` with the bytes from `offset` on, or rejects. A source that has it spares the memory of a new array for every piece
   * (`PieceOptions.into`).
   */
  readInto?(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Frees the handle. */
  close?(): Promise<void>;
}

/** The largest single read this package asks a `ByteSource` for, in bytes (Node's `FileHandle.read` aborts at 2 GiB). */
export const MAX_READ = 64 * 2 ** 20;

/**
 * Bytes of one element, for every dtype that fills whole bytes.
 * Source: `Dtype` in huggingface/safetensors, `safetensors/src/tensor.rs`.
 */
const BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  F8_E5M2FNUZ: 1,
  F8_E4M3FNUZ: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  C64: 8,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** An element type, spelled as in the file. `C64` is a pair of F32. The packed F4 and F6 types of MX files are not supported. */
export type Dtype = keyof typeof BYTES;

/** Every supported dtype. */
export const DTYPES = Object.keys(BYTES) as readonly Dtype[];

/** Whether `text` is a supported dtype. */
export function isDtype(text: string): text is Dtype {
  return Object.hasOwn(BYTES, text); // not `in`: "toString" is not a dtype
}

/** Bytes one element takes. */
export function bytesPerElement(dtype: Dtype): number {
  return BYTES[dtype];
}

/** Bits one element takes. */
export function bitsPerElement(dtype: Dtype): number {
  return BYTES[dtype] * 8;
}

/**
 * Bytes a tensor of this shape takes, or `undefined` where an intermediate product passes 2^53 - 1.
 * Multiplies from the left as upstream does, so `[0, huge, huge]` is empty and `[huge, huge, 0]` an overflow.
 */
export function byteLength(dtype: Dtype, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const dimension of shape) {
    elements *= dimension;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bytes = elements * BYTES[dtype];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** One tensor as the header declares it: dense, row-major, little-endian. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  /** Outermost dimension first; `[]` is a scalar; a 0 makes the tensor empty. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file (not of its data, as `data_offsets` are). */
  readonly begin: number;
  /** One past the last byte, counted from the start of the file. `end - begin` is shape × dtype. */
  readonly end: number;
}

/** A checked header: its tensors tile `[dataStart, size of the file)` with no hole and no overlap. */
export interface Header {
  /** `__metadata__`, empty where the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in the order of their bytes in the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Where the data begins, in bytes from the start of the file: 8 + the header's length. */
  readonly dataStart: number;
}

/** The names a checkpoint is found by, as the transformers library writes them. */
export const INDEX_NAME = "model.safetensors.index.json";
/** The name of a checkpoint's file that holds all tensors. */
export const SINGLE_NAME = "model.safetensors";
