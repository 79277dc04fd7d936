import { afterAll, afterEach, expect } from "vitest";
import { EngineError } from "../../src/errors.ts";

/** `code: message` of the EngineError that some work ends with; `no error` where it ends well. Whatever else is thrown is thrown. */
export async function failureOf(work: PromiseLike<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof EngineError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "no error";
}

export const codeOf = async (work: PromiseLike<unknown>): Promise<string> => (await failureOf(work)).split(":")[0]!;

/** Every test of the file fails that leaves a rejection which nobody heard of. */
export function expectNoUnhandled(): void {
  const unhandled: unknown[] = [];
  const hear = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", hear);
  afterAll(() => void process.off("unhandledRejection", hear)); // other files have the same process
  afterEach(async () => {
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(unhandled.splice(0)).toEqual([]);
  });
}
