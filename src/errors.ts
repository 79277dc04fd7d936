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

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "EngineError";
    this.code = code;
    this.hint = options.hint;
  }
}

/** Throws `aborted` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new EngineError("aborted", "the operation was aborted", { cause: signal.reason });
}
