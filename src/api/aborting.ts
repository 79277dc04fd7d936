import { EngineError, onAbort, throwIfAborted } from "../errors.ts";

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

/** Waits until `work` is done or the signal fires, whichever comes first. */
export async function doneOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  let leave!: () => void;
  const fired = new Promise<void>((resolve) => {
    leave = onAbort(signal, resolve);
  });
  await Promise.race([fired, work]);
  leave();
}

/** What `work` gives, unless the signal fires first. @throws EngineError aborted */
export async function readyOrAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {}); // whoever hears of the abort does not wait for it
  await doneOrAborted(work, signal);
  throwIfAborted(signal);
  return work;
}
