import { execFile } from "node:child_process";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { platform } from "#platform";
import { type Checkpoint, readExactly } from "../../src/safetensors/index.ts";
import { CHUNK_BYTES, planReads } from "../../src/weights/reads.ts";

/** Where the bytes of a read go: an array of at least that many bytes. */
type Into = (bytes: number) => Uint8Array;

/** How long it takes to read the files of a model, in seconds. */
export interface Reading {
  /** Into memory where all bytes lie in the end; `null` where the machine has not the room. */
  readSeconds: number | null;
  /** Each read into the same memory. */
  rereadSeconds: number;
}

/**
 * Reads the files in a process of its own (bench-reading.ts): where a model has been before, memory is slower to come by than at a start,
 * which is where a load begins too; and the peak of memory that is reported is to be the model's.
 */
export async function readInOwnProcess(source: string, revision: string | undefined, signal: AbortSignal): Promise<Reading> {
  const script = fileURLToPath(new URL("./bench-reading.js", import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script, source, ...(revision ? [revision] : [])], { signal });
    return JSON.parse(stdout);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

export async function timeReadings(checkpoint: Checkpoint, signal: AbortSignal): Promise<Reading> {
  const bytes = checkpoint.files.reduce((sum, { size }) => sum + size, 0);
  const available = platform.availableMemory();
  const rereadSeconds = await timeReading(checkpoint, signal);
  const fits = available === undefined || bytes <= available;
  return { readSeconds: fits ? await timeReadingIntoMemory(checkpoint, signal) : null, rereadSeconds };
}

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
async function timeReading(checkpoint: Checkpoint, signal: AbortSignal): Promise<number> {
  const array = new Uint8Array(CHUNK_BYTES);
  await seconds(checkpoint, () => array, signal);
  return seconds(checkpoint, () => array, signal);
}

/** Bytes of an array that takes the bytes of many reads: an array for each would have the garbage collector busy. */
const ARRAY_BYTES = 2 ** 30;

/**
 * Seconds that reading all tensors into memory takes, where they all lie in the end. That is the job a load has too: memory is given to a
 * process when it first touches it, page by page, and that costs about as much as copying a file's bytes to it. Memory that is used again
 * for every read is spared it, so that reading into such memory does not measure what getting a checkpoint into memory costs. Nothing is done
 * here that does not have to be: arrays of this size are zeroed by nobody before a page is touched.
 */
async function timeReadingIntoMemory(checkpoint: Checkpoint, signal: AbortSignal): Promise<number> {
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
