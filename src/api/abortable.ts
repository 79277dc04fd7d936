import { EngineError, throwIfAborted } from "../errors.ts";

/** Runs `work`. What the platform throws at an abort becomes this library's `aborted`. */
export async function abortable<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  throwIfAborted(signal);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EngineError)) throwIfAborted(signal);
    throw error;
  }
}
