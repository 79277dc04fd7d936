import { badWeights, EngineError, late } from "../errors.ts";
import { type Checkpoint, openCheckpoint, SafetensorsError, SINGLE_NAME } from "../safetensors/index.ts";
import type { StagedSource } from "./source-types.ts";

/** What is wrong with a safetensors file becomes a `bad-weights`. */
export async function asBadWeights<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof SafetensorsError ? toBadWeights(error) : error;
  }
}

const toBadWeights = (error: SafetensorsError): EngineError =>
  badWeights(error.message, error.hint ?? "take the file as it was published", error);

/**
 * Opens the safetensors files; what is wrong with them, or lies there in their place, becomes a `bad-weights`. Of a model on a server the
 * headers come first, and the weights only when `check` has nothing against them.
 */
export async function openWeights(
  source: StagedSource,
  signal?: AbortSignal,
  check: (checkpoint: Checkpoint) => void | Promise<void> = () => {},
): Promise<Checkpoint> {
  const open = async (): Promise<Checkpoint> => {
    const checkpoint = await asBadWeights(() => openFiles(source, signal));
    try {
      await check(checkpoint);
    } catch (error) {
      await checkpoint.close();
      throw error;
    }
    return checkpoint;
  };
  if (!source.download) return open();
  let early: Checkpoint | undefined;
  try {
    early = await open();
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "network") throw error; // a server without ranges: the whole files tell as well
  }
  let came = true;
  try {
    came = await source.download();
  } finally {
    if (came) await early?.close(); // also where the download broke off
  }
  return came || !early ? open() : early;
}

async function openFiles(source: StagedSource, signal: AbortSignal | undefined): Promise<Checkpoint> {
  try {
    return await openCheckpoint(source, signal ? { signal } : {});
  } catch (error) {
    const none = error instanceof SafetensorsError && error.absent && error.file === SINGLE_NAME;
    throw (none && (await (await late("what tells why there are no tensors", import("./missing.ts"))).noTensors(source))) || error;
  }
}
