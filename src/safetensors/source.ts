import { SafetensorsError } from "./errors.ts";
import { type ByteSource, MAX_READ } from "./types.ts";

/** A file that already lies in memory. Each read gives a fresh copy. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      if (offset < 0 || length < 0 || offset + length > bytes.length) {
        throw new SafetensorsError(`a read of ${length} bytes at ${offset} leaves the file of ${bytes.length} bytes`, { file: name });
      }
      return bytes.slice(offset, offset + length);
    },
  };
}

/** What `readExactly` and `readRange` need to know besides the range. */
export interface ReadContext {
  /** The tensor the bytes belong to, for messages. */
  readonly tensor?: string;
  readonly signal?: AbortSignal | undefined;
  /** Where the bytes may be put; at least as long as the range. */
  readonly into?: Uint8Array | undefined;
}

/**
 * One read of at most `MAX_READ` bytes, held to the contract of `ByteSource`.
 *
 * @throws SafetensorsError where the source gives fewer or more bytes; what the source rejects with passes through
 */
export async function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  { tensor, signal, into }: ReadContext,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  if (into && source.readInto) {
    const bytes = into.subarray(0, length);
    await source.readInto(offset, bytes, signal);
    return bytes;
  }
  const bytes = await source.read(offset, length, signal);
  if (bytes.length !== length) {
    throw new SafetensorsError(`a read at byte ${offset} gave ${bytes.length} bytes, needs ${length}`, {
      file: source.name,
      tensor,
      hint: "the file was cut short, or changed while it was read",
    });
  }
  return bytes;
}

/** The bytes `[offset, offset + length)` in one array, read in pieces of at most `MAX_READ`. The caller has checked the length. */
export async function readRange(source: ByteSource, offset: number, length: number, context: ReadContext): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0);
  if (length <= MAX_READ) return readExactly(source, offset, length, context);
  const all = new Uint8Array(length);
  for (let at = 0; at < length; at += MAX_READ) {
    all.set(await readExactly(source, offset + at, Math.min(MAX_READ, length - at), context), at);
  }
  return all;
}
