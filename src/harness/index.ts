import type { KernelCase } from "./case.ts";
import { matmulCases } from "./cases/matmul.ts";
import { Random } from "./random.ts";

const FAMILIES: readonly ((random: Random) => KernelCase[])[] = [matmulCases];

/** Every case of every op. The seed chooses the random shapes. */
export function kernelCases(seed = 1): KernelCase[] {
  const random = new Random(`shapes ${seed}`);
  return FAMILIES.flatMap((family) => family(random));
}
