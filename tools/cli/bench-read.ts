import { performance } from "node:perf_hooks";
import { type Checkpoint, readExactly } from "../../src/safetensors/index.ts";
import { PIECE_BYTES, planReads } from "../../src/weights/reads.ts";

/** Where the bytes of a read go: an array of at least so many bytes. */
type Into = (bytes: number) => Uint8Array;

async function seconds(checkpoint: Checkpoint, into: Into, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  for (const { source, begin, end } of planReads(checkpoint.tensors.values())) {
    await readExactly(source, begin, end - begin, { signal, into: into(end - begin) });
  }
  return (performance.now() - began) / 1e3;
}

/**
 * Seconds that reading all tensors takes in the same reads as the load, one after the other, each into the same memory. The first time may
 * come from the disk, so: twice, the second.
 */
export async function timeReading(checkpoint: Checkpoint, signal: AbortSignal): Promise<number> {
  const array = new Uint8Array(PIECE_BYTES);
  await seconds(checkpoint, () => array, signal);
  return seconds(checkpoint, () => array, signal);
}

/** Bytes of an array that takes the bytes of many reads: an array for each would have the garbage collector busy. */
const ARRAY_BYTES = 2 ** 30;

/**
 * Seconds that reading all tensors into memory takes, where they all lie in the end. That is the job a load has too: memory is given to a
 * process when it first touches it, page by page, and that costs about as much as copying a file's bytes to it. Memory that is used again
 * for every read is spared it, so that reading into such memory is no measure of what getting a checkpoint into memory costs. Nothing is done
 * here that does not have to be: arrays of this size are zeroed by nobody before a page is touched.
 */
export async function timeReadingIntoMemory(checkpoint: Checkpoint, signal: AbortSignal): Promise<number> {
  const kept: Uint8Array[] = [];
  let used = ARRAY_BYTES;
  const into = (bytes: number): Uint8Array => {
    if (used + bytes > ARRAY_BYTES) {
      kept.push(new Uint8Array(ARRAY_BYTES));
      used = 0;
    }
    used += bytes;
    return kept.at(-1)!.subarray(used - bytes, used);
  };
  return seconds(checkpoint, into, signal);
}
