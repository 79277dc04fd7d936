import type { Gpu } from "../gpu/device.ts";
import { type Dispatch, type Program, Programs } from "../gpu/program.ts";
import { f32Bits } from "../ops/check.ts";
import { timeInterleaved } from "./bench-timer.ts";

/** What this adapter can do at most, measured. */
export interface Ceilings {
  fmaGflops: number;
  streamGBps: number;
  copyGBps: number;
}

const THREADS = 64;
/** Chains of vec4s, links a round, fused: few long chains suit a GPU's registers, many short ones a CPU's. */
const CHAINS = [
  [2, 16, true],
  [4, 16, true],
  [8, 8, true],
  [4, 3, true],
  [6, 3, true],
  [8, 3, true],
  [12, 3, true],
  [4, 16, false],
  [8, 3, false],
] as const;
const STEP = { units: 1, start: 0 };

interface Probe {
  ceiling: keyof Ceilings;
  /** Flops or bytes of a run. */
  work: number;
  program: Program;
}

/**
 * The best of some configurations each: chains of fused or separate multiply-adds in registers; buffers far larger than the caches,
 * where the adapter's bindings permit, read by neighbouring threads side by side or in stretches.
 */
export function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  return gpu.memory.temporarily(() => measure(gpu));
}

async function measure(gpu: Gpu): Promise<Ceilings> {
  const { memory } = gpu;
  const programs = new Programs(gpu);
  const probes: Probe[] = [];
  const probe = async (ceiling: keyof Ceilings, work: number, dispatch: Dispatch) => {
    probes.push({ ceiling, work, program: await programs.record(dispatch.kernel.shader, 1, (p) => p.dispatch(dispatch)) });
  };
  const out = memory.create("bench.out", 16);
  const groups = gpu.software ? 64 : 4096;
  for (const [chains, links, fused] of CHAINS) {
    const rounds = Math.ceil(16384 / (chains * links));
    await probe("fmaGflops", groups * THREADS * rounds * chains * links * 8, {
      kernel: { shader: "bench.fma", consts: { CHAINS: chains, LINKS: links, FUSED: fused }, bindings: "uuw" },
      params: [rounds, f32Bits(0.5), f32Bits(0.25)],
      buffers: [out],
      workgroups: () => [groups, 1, 1],
    });
  }
  const bytes = 2 ** Math.floor(Math.log2(Math.min(memory.maxBinding, 2 ** 28)));
  const x = memory.create("bench.x", bytes);
  const y = memory.create("bench.y", bytes);
  for (const split of [false, true]) {
    for (const threads of gpu.software ? [2 ** 10, 2 ** 14] : [2 ** 16, 2 ** 18]) {
      const common = { params: [bytes / 16, threads], workgroups: () => [threads / THREADS, 1, 1] as const };
      const consts = { SPLIT: split };
      await probe("streamGBps", bytes, { ...common, kernel: { shader: "bench.stream", consts, bindings: "uurw" }, buffers: [x, out] });
      await probe("copyGBps", 2 * bytes, { ...common, kernel: { shader: "bench.copy", consts, bindings: "uurw" }, buffers: [x, y] });
    }
  }
  const whole = await programs.record("copy", 1, (p) => p.copy({ from: x, to: y, range: () => ({ fromOffset: 0, toOffset: 0, bytes }) }));
  probes.push({ ceiling: "copyGBps", work: 2 * bytes, program: whole });

  const run = (program: Program) => async (iterations: number) => {
    for (let i = 0; i < iterations; i++) program.run(STEP);
    await memory.flush();
  };
  const times = await timeInterleaved(
    probes.map(({ program }) => ({ run: run(program) })),
    2,
  );
  const best: Ceilings = { fmaGflops: 0, streamGBps: 0, copyGBps: 0 };
  for (const [i, { ceiling, work }] of probes.entries()) best[ceiling] = Math.max(best[ceiling], work / times[i]! / 1e6);
  return best;
}
