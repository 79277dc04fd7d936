import type { KernelCase } from "./case.ts";
import { attentionCases } from "./cases/attention.ts";
import { awqCases } from "./cases/awq.ts";
import { convertCases } from "./cases/convert.ts";
import { loraCases } from "./cases/lora.ts";
import { matmulCases } from "./cases/matmul.ts";
import { normCases } from "./cases/norm.ts";
import { patchCases } from "./cases/patch.ts";
import { ropeCases } from "./cases/rope.ts";
import { rowwiseCases } from "./cases/rowwise.ts";
import { sampleCases } from "./cases/sample.ts";
import { synthCases } from "./cases/synth.ts";
import { Random } from "./random.ts";

const FAMILIES: readonly ((random: Random) => KernelCase[])[] = [
  matmulCases,
  attentionCases,
  normCases,
  ropeCases,
  rowwiseCases,
  patchCases,
  sampleCases,
  convertCases,
  awqCases,
  loraCases,
  synthCases,
];

/**
 * Every case of every op. The seed chooses the random shapes.
 *
 * @example
 * ```ts
 * const norms = kernelCases(7).filter(({ op }) => op === "rms_norm");
 * ```
 */
export function kernelCases(seed = 1): KernelCase[] {
  const random = new Random(`shapes ${seed}`);
  return FAMILIES.flatMap((family) => family(random));
}
