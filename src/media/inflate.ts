import { concat } from "./image.ts";

/** Bytes that go into the stream at once: at most 1032 times as many come out of them. */
const STEP = 4096;
/** How far behind its writer the decoder may be when it fails, at most (Node's takes 16 KiB ahead). */
const AHEAD = 24_576;
/** Reads that wait at any time: what comes out of one step finds one each, since a stream that fails drops what nobody waits for. */
const READS = 80;

/** How a stream ended. */
export interface End {
  /** What the decoder found wrong; `undefined` where all was well or the taker had enough. */
  failure: unknown;
  /** Where in the stream to go in single bytes, so that nothing is lost that came before the failure; `undefined` where nothing was. */
  closeFrom: number | undefined;
}

/**
 * Inflates a zlib stream (RFC 1950) that lies in pieces, with the platform's own decoder, and hands on what comes out as it comes.
 *
 * Where the decoder fails it drops what the same step has given: the end then says where a second try is to take single bytes.
 *
 * @param take gets the next bytes; false ends it. What it throws, this throws
 */
export async function inflate(
  pieces: readonly Uint8Array[],
  take: (bytes: Uint8Array) => boolean,
  closeFrom = Number.POSITIVE_INFINITY,
): Promise<End> {
  const stream = new DecompressionStream("deflate");
  const [writer, reader] = [stream.writable.getWriter(), stream.readable.getReader()];
  let enough = false;
  let failure: unknown;
  let thrown: { error: unknown } | undefined;
  const stop = (): void => {
    enough = true;
    reader.cancel().catch(() => {});
    writer.abort().catch(() => {});
  };
  const read = async (): Promise<void> => {
    while (!enough) {
      const { done, value } = await reader.read();
      if (done || enough) return;
      try {
        if (!take(value)) stop();
      } catch (error) {
        thrown = { error };
        stop();
      }
    }
  };
  const failed = (error: unknown): void => {
    if (!enough) failure ??= error;
  };
  const reads = Array.from({ length: READS }, () => read().catch(failed));
  let written = 0;
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length && !enough; ) {
        await writer.ready;
        const step = piece.subarray(at, at + (written < closeFrom ? STEP : 1));
        writer.write(step as Uint8Array<ArrayBuffer>).catch(failed);
        at += step.length;
        written += step.length;
      }
    }
    if (!enough) await writer.close();
  } catch (error) {
    failed(error);
  }
  await Promise.all(reads);
  if (thrown) throw thrown.error;
  return { failure, closeFrom: failure ? Math.max(0, written - AHEAD) : undefined };
}

/**
 * Whether a stream that failed holds its first `size` bytes undamaged: what was wrong is only what lies behind its checksum (Adler-32),
 * or the checksum is cut off. The decoder does not say, so the right checksum is computed, looked for and put in its place.
 */
export async function soundBut(pieces: readonly Uint8Array[], size: number, closeFrom: number | undefined): Promise<boolean> {
  let [a, b, left] = [1, 0, size];
  const add = (bytes: Uint8Array): boolean => {
    const end = Math.min(bytes.length, left);
    left -= end;
    for (let i = 0; i < end; ) {
      // 3800 bytes keep b below 2³¹, so that the engine can count in integers; the remainder is taken only then.
      for (const stop = Math.min(i + 3800, end); i < stop; i++) b += a += bytes[i]!;
      a %= 65521;
      b %= 65521;
    }
    return end === bytes.length;
  };
  await inflate(pieces, add, closeFrom);
  const sum = Uint8Array.of(b >> 8, b & 255, a >> 8, a & 255);
  const stream = concat(pieces);
  const candidates: Uint8Array[] = [];
  for (let kept = 0; kept < 4; kept++) {
    const end = stream.length - kept;
    if (sum.subarray(0, kept).every((byte, i) => byte === stream[end + i])) candidates.push(concat([stream.subarray(0, end), sum]));
  }
  // A chance hit is one in four billion: a file with more of them is made to keep us busy.
  for (let at = stream.indexOf(sum[0]!); at >= 0 && candidates.length < 8; at = stream.indexOf(sum[0]!, at + 1)) {
    if (sum.every((byte, i) => byte === stream[at + i])) candidates.push(stream.subarray(0, at + 4));
  }
  for (const candidate of candidates) if (!(await inflate([candidate], () => true)).failure) return true;
  return false;
}
