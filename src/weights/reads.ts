import { type ByteSource, readExactly, type TensorEntry } from "../safetensors/index.ts";

/** Bytes that are read, or converted, at once. Small: a chunk is held a few times over on its way to the GPU. */
export const CHUNK_BYTES = 16 * 2 ** 20;

/** Bytes that nobody asked for, between two tensors, up to which both come in one read: vectors lie between the matrices. */
const MOST_GAP = 64 * 2 ** 10;

/** Tensors are cut at multiples of it from their first byte: whole words for the GPU, and a whole group of 32 elements in any dtype. */
const CUT_BYTES = 128;

/** Consecutive bytes of one tensor in a read. */
export interface ByteRange {
  name: string;
  /** In bytes from the tensor's start. */
  offset: number;
  /** In bytes from the file's start. */
  begin: number;
  end: number;
}

/** Neighbouring bytes of a file that are read at once, and what of them belongs to which tensor. */
export interface Read {
  source: ByteSource;
  begin: number;
  end: number;
  parts: ByteRange[];
}

/**
 * How to read tensors in the order in which they are given, in few reads of at most `CHUNK_BYTES`: neighbours in a file come together. Only a
 * tensor that is larger than that is cut, for a buffer that is filled at once need not be zeroed before. An empty tensor is in no read.
 */
export function* planReads(entries: Iterable<TensorEntry>): Generator<Read, void, undefined> {
  let read: Read | undefined;
  for (const { source, info } of entries) {
    let begin = info.begin;
    while (begin < info.end) {
      const near = read?.source === source && begin >= read.end && begin - read.end <= MOST_GAP;
      const room: number = near ? read!.begin + CHUNK_BYTES - begin : 0;
      const rest = info.end - begin;
      const length = rest <= room ? rest : rest <= CHUNK_BYTES ? 0 : Math.floor(room / CUT_BYTES) * CUT_BYTES;
      if (length <= 0) {
        if (read) yield read;
        read = { source, begin, end: begin, parts: [] }; // empty as yet: the tensor goes on here
        continue;
      }
      const end = begin + length;
      read!.parts.push({ name: info.name, offset: begin - info.begin, begin, end });
      read!.end = end;
      begin = end;
    }
  }
  if (read) yield read;
}

/**
 * Carries reads out one after the other, with those behind it under way while one is used: reading and copying overlap. A read that fails is
 * told when its turn comes; none goes on when the caller has stopped. The bytes of one last until the next one is asked for.
 *
 * @param into arrays of `CHUNK_BYTES` that take the bytes in turn; one less is the number of reads under way
 */
export async function* readAhead(
  reads: Iterator<Read>,
  into: readonly Uint8Array[],
  signal?: AbortSignal,
): AsyncGenerator<{ read: Read; bytes: Uint8Array }, void, undefined> {
  const under: { read: Read; bytes: Promise<Uint8Array> }[] = [];
  let count = 0;
  const begin = (): void => {
    const { value: read, done } = reads.next();
    if (done) return;
    const { source, parts } = read;
    const context = { tensor: parts[0]!.name, signal, into: into[count++ % into.length] };
    const bytes = readExactly(source, read.begin, read.end - read.begin, context);
    bytes.catch(() => {}); // told when its turn comes
    under.push({ read, bytes });
  };
  try {
    for (let i = 1; i < into.length; i++) begin();
    for (;;) {
      const next = under[0];
      if (!next) return;
      const bytes = await next.bytes;
      under.shift();
      begin();
      yield { read: next.read, bytes };
    }
  } finally {
    await Promise.allSettled(under.map(({ bytes }) => bytes));
  }
}
