import { expect } from "vitest";
import { EngineError, type ErrorCode } from "../../src/errors.ts";

/** The error with which something is refused: one of ours, with this code, in one line that is not long. */
export function refused(error: unknown, code: ErrorCode, most = 1000): EngineError {
  expect(error).toBeInstanceOf(EngineError);
  const refusal = error as EngineError;
  expect(refusal.code).toBe(code);
  expect(refusal.message).not.toContain("\n");
  expect(refusal.message.length + (refusal.hint?.length ?? 0)).toBeLessThan(most);
  return refusal;
}
