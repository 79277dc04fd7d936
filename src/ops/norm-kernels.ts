import type { Gpu } from "../gpu/device.ts";
import type { KernelSource, Library } from "../gpu/kernel.ts";
import type { Needs } from "./needs.ts";

/** A way to norm rows. */
export interface NormKernel {
  needs: Needs;
  plan(gpu: Gpu): NormPlan;
}

/** The kernel of a norm. */
export interface NormPlan {
  source: KernelSource;
  /** After lib/step. */
  libs: readonly Library[];
  directives?: readonly string[];
  /** Of a workgroup, and the rows that it norms. */
  threads: number;
  rows: number;
}

const ROW: KernelSource = { shader: "norm.row" };

/** Kernels that any adapter may run, a workgroup for each row; CPU adapters have more (cpu/norm.ts). */
export const NORMS = {
  /** A tree in workgroup memory. Everywhere. */
  workgroup: { needs: {}, plan: () => ({ source: ROW, libs: ["lib/total.barrier"], threads: 64, rows: 1 }) },
  /** Two barriers a sum. */
  subgroups: {
    needs: { features: ["subgroups"] },
    plan: () => ({ source: ROW, libs: ["lib/total.subgroups"], directives: ["enable subgroups;"], threads: 128, rows: 1 }),
  },
} satisfies Record<string, NormKernel>;
