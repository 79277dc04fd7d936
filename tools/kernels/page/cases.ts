import type { KernelCase } from "../../../src/harness/case.ts";
import { kernelCases } from "../../../src/harness/index.ts";
import { chooseCases } from "../choose.ts";
import type { Request } from "./protocol.ts";

/** The cases of a test, in the harness's order; a string says why there are none. */
export function casesOf({ large, seed, ...choice }: Omit<Request, "kind">): KernelCase[] | string {
  return chooseCases(
    kernelCases(seed).filter(({ size }) => large || size !== "full"),
    choice,
  );
}
