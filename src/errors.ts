/** What went wrong, as a word a program can switch on. */
export type ErrorCode =
  | "no-webgpu"
  | "no-adapter"
  | "missing-feature"
  | "limit-exceeded"
  | "out-of-memory"
  | "device-lost"
  | "bad-weights"
  | "bad-image"
  | "bad-input"
  | "context-overflow"
  | "disposed"
  | "network"
  | "aborted";

/**
 * The one error class of this library.
 *
 * `message` says what failed, what it has and what it needs, in one line; `hint` says what to do about it.
 */
export class EngineError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** What had been said of an answer before it ended in this error; `undefined` where no answer was under way. */
  readonly partialText: string | undefined;
  /** The option or field that is wrong, as the caller calls it, where the error is about one: `temperature`, `messages[0].role`. */
  readonly param: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string | undefined; cause?: unknown; partialText?: string | undefined; param?: string | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code === "aborted" ? "AbortError" : "EngineError"; // AbortError is what the platform's own aborts are called
    this.code = code;
    this.hint = options.hint;
    this.partialText = options.partialText;
    this.param = options.param;
  }

  /**
   * What JSON says of it, and what can be posted: `structuredClone` and `postMessage` keep no more of an error than its message.
   * `new EngineError(plain.code, plain.message, plain)` makes an error of it again.
   */
  toJSON(): Pick<EngineError, "name" | "code" | "message" | "hint" | "partialText" | "param"> {
    return { ...this, message: this.message };
  }
}

/** The error of a checkpoint's or an adapter's files. */
export const badWeights = (problem: string, hint?: string, cause?: unknown): EngineError =>
  new EngineError("bad-weights", problem, { hint, cause });

/** The error of asking a model that was disposed. */
export const disposed = (): EngineError => new EngineError("disposed", "this model was disposed", { hint: "load it again" });

/** A part of the library that comes when it is needed: `late("what it is", import("…"))`. @throws EngineError network where it cannot be loaded */
export const late = <T>(what: string, part: Promise<T>): Promise<T> =>
  part.catch((cause: unknown) => {
    const hint = "check the connection and the library's files, then try again";
    throw new EngineError("network", `${what} could not be loaded`, { hint, cause });
  });

export const aborted = (cause: unknown): EngineError => new EngineError("aborted", "the operation was aborted", { cause });

/** @throws EngineError aborted where the signal has fired */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal.reason);
}

/** Calls `act` when the signal fires, at once where it has; what is returned takes that back. */
export function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (signal?.aborted) act();
  signal?.addEventListener("abort", act, { once: true });
  return () => signal?.removeEventListener("abort", act);
}

/** A controller of one's own that a signal aborts too, until `leave` is called. */
export function abortedBy(signal: AbortSignal | undefined): { abort: AbortController; leave: () => void } {
  const abort = new AbortController();
  return { abort, leave: onAbort(signal, () => abort.abort(signal?.reason)) };
}
