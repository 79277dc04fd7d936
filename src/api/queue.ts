import { EngineError, throwIfAborted } from "../errors.ts";

/** Gives turns one after the other, in the order they were asked for: a model does one thing at a time. */
export class Queue {
  #tail: Promise<void> = Promise.resolve();

  /** Waits for everything before, then gives the turn; call the result when done. @throws EngineError aborted, while waiting */
  async enter(signal?: AbortSignal): Promise<() => void> {
    const before = this.#tail;
    let leave!: () => void;
    this.#tail = new Promise((resolve) => {
      leave = resolve;
    });
    if (signal) await doneOrAborted(before, signal);
    else await before;
    if (signal?.aborted) {
      before.then(leave); // whoever comes next still waits for those before
      throw new EngineError("aborted", "the operation was aborted", { cause: signal.reason });
    }
    return leave;
  }
}

/** Waits until `work` is done or the signal fires, whichever comes first. */
export async function doneOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let stop!: () => void;
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
  });
  signal.addEventListener("abort", stop, { once: true });
  await Promise.race([work, aborted]);
  signal.removeEventListener("abort", stop);
}

/** What `work` gives, unless the signal fires first. @throws EngineError aborted */
export async function readyOrAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {}); // whoever is told of the abort does not wait for it
  await doneOrAborted(work, signal);
  throwIfAborted(signal);
  return work;
}
