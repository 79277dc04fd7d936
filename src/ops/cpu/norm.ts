import type { NormKernel } from "../norm-kernels.ts";
import { kernel, lib } from "./source.ts";

/** Norms for adapters that compute on the CPU, where a barrier costs more than all the arithmetic between two of them. */
export const NORMS = {
  /** One subgroup a row. */
  cpu_subgroup: {
    needs: { subgroupSize: "fixed" },
    plan: (gpu) => ({
      source: { shader: "norm.row" },
      libs: [lib("total.subgroup")],
      directives: ["enable subgroups;"],
      threads: gpu.subgroups.size!,
      rows: 1,
    }),
  },
  /** A thread a row. Everywhere. */
  cpu_thread: { needs: {}, plan: () => ({ source: kernel("cpu/norm.thread"), libs: [], threads: 8, rows: 8 }) },
} satisfies Record<string, NormKernel>;

/** The norm of q and k takes a row a workgroup. */
export const QK_NORMS = { cpu_subgroup: NORMS.cpu_subgroup };
